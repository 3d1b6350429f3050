"""`annotator3d doctor --gpu`: everything that wants a GPU, in one table.

`plan` lists the steps, `steps` runs each in a process of its own, `checks` holds what those of the
package do, `table` writes the result, `machine` describes where it ran.
"""
