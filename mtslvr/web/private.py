"""The demo's server answers no page but its own, and gives no visitor another's sounds."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

COOKIE = "mtslvr-visitor"
MAX_MESSAGE = 1_000_000  # bytes of a request that is no upload

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


class Owners:
    """Which visitors gave, or were given, which files. A visitor is a random word in a cookie."""

    def __init__(self) -> None:
        self._owners: dict[str, set[str]] = {}

    def add(self, visitor: str, paths: Iterable[str | os.PathLike[str]]) -> None:
        for path in paths:
            self._owners.setdefault(os.path.realpath(path), set()).add(visitor)

    def may(self, visitor: str, path: str | os.PathLike[str]) -> bool:
        """Whether a file is the visitor's, or nobody's, as the demo's own."""
        owners = self._owners.get(os.path.realpath(path))
        return owners is None or visitor in owners


class Private:
    """ASGI middleware: refuses other hosts, and another visitor's files; notes whose an upload is.

    Args:
        app: the server that answers what is left.
        owners: is told of uploads, and asked about files.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], owners: Owners) -> None:
        self.app, self.owners = app, owners

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no websockets here
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = str(scope["path"])
        upload = route.endswith("/upload")
        visitor = visitor_of(headers.get("cookie", ""))
        if not _is_meant(headers.get("host", "")):
            return await _refuse(send, 403, "ask by localhost or an IP address, or name the host in GRADIO_SERVER_NAME")
        if not upload and int(headers.get("content-length") or 0) > MAX_MESSAGE:
            return await _refuse(send, 413, "too long")
        for mark in ("/file=", "/file/"):
            if mark in route and not self.owners.may(visitor, route.split(mark, 1)[1]):
                return await _refuse(send, 403, "this file is another visitor's")
        new = "" if visitor else secrets.token_urlsafe(24)
        body = bytearray()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and new:
                cookie = f"{COOKIE}={new}; Path=/; HttpOnly; SameSite=Strict"
                message["headers"] = [*message.get("headers", ()), (b"set-cookie", cookie.encode())]
            elif message["type"] == "http.response.body" and upload:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    self.owners.add(visitor or new, _paths(bytes(body)))
            await send(message)

        await self.app(scope, receive, answer)


def _is_meant(host: str) -> bool:
    """Whether a Host header can be of a page of ours: one elsewhere that rebinds its name to this machine sends that name."""
    name = re.sub(r":\d+$", "", host).strip("[]")
    if name in ("localhost", os.environ.get("GRADIO_SERVER_NAME")):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def visitor_of(cookies: str) -> str:
    """The visitor that a Cookie header names; "" if none."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _paths(body: bytes) -> list[str]:
    """The paths in the answer to an upload; none if it is an error."""
    try:
        found = json.loads(body)
    except ValueError:
        return []
    return [path for path in found if isinstance(path, str)] if isinstance(found, list) else []


async def _refuse(send: Send, status: int, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
