"""How a teacher is made: recipes, the augmentation behind them, and its losses."""

from __future__ import annotations

from refkd.recipes.augment import augmentation
from refkd.recipes.config import RecipeConfig
from refkd.recipes.losses import TeacherLoss
from refkd.recipes.translate import translate

__all__ = ["RecipeConfig", "TeacherLoss", "augmentation", "translate"]
