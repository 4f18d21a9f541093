"""The published recipes, number for number, and ours: a name, its source, its score, and every setting.

A file holds what one paper or one code base says; `find.py` knows them all. Numbers stand as the tables print them,
and whatever a table leaves open is said in the recipe's source. Weight decay is in PyTorch's units (see `units.py`).
"""

from vitreous.recipe.bit import hyperrule as hyperrule
from vitreous.recipe.family import Family as Family
from vitreous.recipe.find import find_listed as find_listed
from vitreous.recipe.find import find_recipe as find_recipe
from vitreous.recipe.find import quality_recipe as quality_recipe
from vitreous.recipe.find import recipe_families as recipe_families
from vitreous.recipe.find import recipe_names as recipe_names
from vitreous.recipe.units import decoupled as decoupled
