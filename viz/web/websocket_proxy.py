"""Forwards one websocket, both ways."""

from __future__ import annotations

import asyncio

from aiohttp import ClientSession, ClientWebSocketResponse, WSCloseCode, WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

Socket = web.WebSocketResponse | ClientWebSocketResponse
# Codes that say why there was no close message; they are never sent (RFC 6455, section 7.4.1).
_NEVER_SENT = {None, 1005, WSCloseCode.ABNORMAL_CLOSURE, 1015}


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether a request asks to become a websocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def forward_websocket(
    session: ClientSession, request: web.BaseRequest, url: URL, headers: CIMultiDict[str]
) -> web.WebSocketResponse:
    """Open a websocket to `url` and pass messages both ways until one side ends.

    Pings are passed on too, so that each side sees whether the other one lives. Messages have no
    size limit and are not compressed again.

    Raises ClientError where the server behind refuses.
    """
    offered = [
        name.strip()
        for value in headers.popall("Sec-WebSocket-Protocol", [])
        for name in value.split(",")
    ]
    own = [name for name in headers if name.lower().startswith("sec-websocket-")]
    for name in own:  # of the browser's handshake with us
        headers.popall(name, None)
    async with session.ws_connect(
        url, headers=headers, protocols=offered, autoping=False, max_msg_size=0
    ) as server:
        chosen = [server.protocol] if server.protocol else []
        browser = web.WebSocketResponse(
            protocols=chosen, autoping=False, max_msg_size=0, compress=False
        )
        await browser.prepare(request)
        ways = [asyncio.ensure_future(_pass(*pair))
                for pair in ((browser, server), (server, browser))]  # fmt: skip
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await browser.close(code=_code(server))
            await server.close(code=_code(browser))
        return browser


async def _pass(source: Socket, target: Socket) -> None:
    """Pass messages on until the source ends."""
    send = {
        WSMsgType.TEXT: target.send_str,
        WSMsgType.BINARY: target.send_bytes,
        WSMsgType.PING: target.ping,
        WSMsgType.PONG: target.pong,
    }
    async for message in source:
        if message.type not in send:  # the connection is broken
            return
        await send[message.type](message.data)


def _code(ended: Socket) -> int:
    """What to tell one side of the other's end."""
    code = ended.close_code
    return WSCloseCode.GOING_AWAY if code in _NEVER_SENT else code
