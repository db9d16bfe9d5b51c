"""Other tools' annotations and pictures, converted into the project's layout and back."""
