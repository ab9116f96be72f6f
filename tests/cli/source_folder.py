"""A source folder whose code counts the words of a book: its pipeline file, and what is built from it."""

SPEC = """# counts
pipeline: {name: count}
input: {pfs: {repo: books, glob: "/*"}}
transform: {build: {}}
"""
SCRIPT = 'wc -w < "$books" > "$PFS_ROOT/out/$(basename "$books")"\n'
