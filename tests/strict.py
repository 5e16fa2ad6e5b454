"""Warnings are errors in programs that tests start, as pyproject.toml says for the tests themselves."""

#: PYTHONWARNINGS of such a program. It takes no patterns: messages by their beginning, modules by their whole name.
STRICT_WARNINGS = ",".join(
    [
        "error",
        # scikit-image 0.26 reshapes its tables in place, which NumPy 2.5 deprecates
        "ignore:Setting the shape on a NumPy array has been deprecated:DeprecationWarning"
        ":skimage.measure._marching_cubes_lewiner",
    ]
)
