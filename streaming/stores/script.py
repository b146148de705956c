"""Lua for Redis: write a row if its guard is as expected, and move positions on."""

from collections.abc import Sequence
from hashlib import sha1
from typing import NamedTuple

# KEYS: a hash of positions by source. ARGV: run ids of servers, any of which will do, or nothing for any
# server at all; then source, floor, following, for each move.
# Returns source and position of each that was refused.
MOVE = b"""
local run = ARGV[1] ~= '' and string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local restarted = run and not string.find(ARGV[1], run, 1, true)
local refused = {}
for i = 2, #ARGV, 3 do
  local position = tonumber(redis.call('HGET', KEYS[1], ARGV[i])) or -1
  if restarted or position < tonumber(ARGV[i + 1]) then
    refused[#refused + 1] = tonumber(ARGV[i])
    refused[#refused + 1] = position
  elseif position < tonumber(ARGV[i + 2]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end
return refused
"""

_ROW = """
local stored = redis.call('HMGET', KEYS[1], {guards})
if (stored[1] or '') ~= ARGV[1] or (stored[2] or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], {pairs})
{expiry}return 1
"""
_EXPIRY = "redis.call('EXPIRE', KEYS[1], {seconds})\n"


class Script(NamedTuple):
    """A script, and the digest that Redis knows it by once it has run."""

    text: bytes
    digest: bytes


def row_script(guards: Sequence[bytes], fields: Sequence[bytes], expire_s: int | None) -> Script:
    """The script that writes one row; it returns 1, or 0 where the guard was another.

    Field names are part of the text: a call carries values only, half of what a plain write sends.
    KEYS: the row. ARGV: the two expected values of `guards`, then a value for each of `fields`.
    """
    pairs = ", ".join(f"{_literal(field)}, ARGV[{place}]" for place, field in enumerate(fields, start=3))
    text = _ROW.format(
        guards=", ".join(map(_literal, guards)),
        pairs=pairs,
        expiry=_EXPIRY.format(seconds=expire_s) if expire_s else "",
    ).encode()
    # Redis names scripts by SHA-1; nothing here rests on its strength.
    return Script(text, sha1(text, usedforsecurity=False).hexdigest().encode())


def _literal(raw: bytes) -> str:
    """Any bytes as a Lua string."""
    return '"' + "".join(f"\\{byte:03d}" for byte in raw) + '"'
