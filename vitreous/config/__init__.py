"""What can be configured, as frozen dataclasses that refuse nonsense when they are made, to and from JSON.

They are the one source of flags, help texts, `run.json` and the header of a model file. Nothing here does any work;
the architectures have a file of their own, `architecture.py`.
"""

from vitreous.config.augment import AugmentConfig as AugmentConfig
from vitreous.config.card import ModelCard as ModelCard
from vitreous.config.card import PreprocessConfig as PreprocessConfig
from vitreous.config.options import TrainOptions as TrainOptions
from vitreous.config.recipe import Recipe as Recipe
