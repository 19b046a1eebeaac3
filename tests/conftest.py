"""Order of the tests."""


def pytest_collection_modifyitems(items):
    """Start the study at toy size first: it is the longest file, and files run side by side."""
    items.sort(key=lambda item: item.path.name != "test_study.py")
