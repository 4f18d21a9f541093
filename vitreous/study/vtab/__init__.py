"""VTAB whole: nineteen tasks, each tuned by its protocol, trained, tested once, and put beside the published scores."""
