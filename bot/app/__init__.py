"""The composition root: the only package that knows concrete classes and which mode uses which."""
