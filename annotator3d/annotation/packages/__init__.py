"""Work packages: queries for a person on another machine, in one file, and their answers back.

`choice` picks the queries, `contents` collects their scans and rows, `export` writes the file. A
package is labelled like a run (`package.PackageSource` reads its scans); `merge` brings the answers
home, and `recall` ends the holds of a package. May import what annotation may; the tables of a
package are defined in `ledger.package_file`.
"""
