"""The tables, figures and page that a cohort's store gives."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures", "tables"])
