"""The frontend in a browser: viser serves the page, and the browser draws it.

It may import the rest of viz, of `desktop` only `system`, and what viz may import. viser and
aiohttp are imported when the server starts; no display and no graphics driver is needed.
"""
