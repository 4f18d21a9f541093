"""Images and labels as the columns of a table: Parquet, and saved Hugging Face datasets."""
