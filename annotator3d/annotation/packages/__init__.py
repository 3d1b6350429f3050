"""Work packages: queries for a person on another machine, in one file, and home again.

A package is chosen (`choice`), filled (`contents`), written (`export`), labelled like a run
(`package.PackageSource` has its scans) and brought home (`merge`); `recall` ends its holds. May
import what annotation may; the tables of a package are `ledger.package_file`'s.
"""
