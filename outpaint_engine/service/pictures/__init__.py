"""Pictures from strangers: from the field `image` to the bytes of a file that may be decoded."""
