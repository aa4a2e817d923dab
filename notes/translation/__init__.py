"""The notes in other languages: counterparts of the English paragraphs, held against them."""
