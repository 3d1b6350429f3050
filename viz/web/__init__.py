"""The frontend in a browser: viser serves the page, and the browser draws it.

May import the rest of viz, of `desktop` only `system`, and what viz may import. viser and aiohttp
are imported when the server starts; the server needs no display and no graphics driver.
"""
