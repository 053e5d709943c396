"""Pure: who may charge, by authority (contract 5.3; rules R41-R44).

`csms`: online the CSMS alone; without it its list, then the cache of its answers, then the unknown-card policy.
`site`: the site's tokens. `both`: Blocked or Expired from either refuses, else either accepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.model import AuthStatus
from gateway.ocpp.meaning import ListUpdate, Tag
from gateway.site import Authority, Charger, Token

_VETO = frozenset({AuthStatus.BLOCKED.value, AuthStatus.EXPIRED.value})
MAX_CARDS = 1000
"""Cards of the cache in memory; the oldest go first, as in the database (I12)."""

KnownCard = tuple[str, str, Tag]
"""Source (list or cache), id tag, what the CSMS said."""


def accepted(tag: Tag) -> bool:
    """Whether this verdict lets a car charge."""
    return tag.status == AuthStatus.ACCEPTED.value


class Cards:
    """What one charger's CSMS said of cards, and the site's own tokens. Cards compare without case (1.6 CiString)."""

    def __init__(self, charger: Charger, tokens: Sequence[Token], known: Iterable[KnownCard], version: int) -> None:
        self._authority: Authority = charger.authority
        self._unknown = charger.offline_unknown
        self._tokens: dict[str, list[Token]] = {}
        for token in tokens:
            self._tokens.setdefault(token.id.casefold(), []).append(token)
        self._memory: dict[str, dict[str, Tag]] = {"list": {}, "cache": {}}
        for source, id_tag, tag in known:
            self._memory[source][id_tag.casefold()] = tag
        self.list_version = version

    @property
    def asks_csms(self) -> bool:
        """Whether a card is the CSMS's to judge while it is there."""
        return self._authority != "site"

    def decide(self, id_tag: str, now_ms: int) -> Tag:
        """The verdict of the gateway where nobody else answers."""
        if self._authority == "site":
            return self._by_site(id_tag, now_ms)
        remembered = self._by_memory(id_tag, now_ms)
        if self._authority == "csms":
            return remembered or Tag("Accepted" if self._unknown == "accept" else "Invalid")
        return _either(remembered, self._by_site(id_tag, now_ms))

    def vouched(self, id_tag: str, now_ms: int) -> bool:
        """Whether somebody has ever accepted this card, and not only the policy for unknown ones."""
        remembered = self._by_memory(id_tag, now_ms)
        return accepted(remembered) if remembered else accepted(self._by_site(id_tag, now_ms))

    def combine(self, id_tag: str, said: Tag, now_ms: int) -> Tag:
        """The verdict when the CSMS has said something."""
        if self._authority == "csms":
            return said
        site = self._by_site(id_tag, now_ms)
        return site if self._authority == "site" else _either(said, site)

    def learn(self, id_tag: str, tag: Tag) -> bool:
        """Remember the CSMS's answer; False where it is known already."""
        cache, key = self._memory["cache"], id_tag.casefold()
        if cache.get(key) == tag:
            return False
        cache.pop(key, None)
        cache[key] = tag
        if len(cache) > MAX_CARDS:
            del cache[next(iter(cache))]
        return True

    def clear_cache(self) -> None:
        """ClearCache from the CSMS."""
        self._memory["cache"].clear()

    def update_list(self, update: ListUpdate) -> bool:
        """SendLocalList; False where a differential one is not newer than our copy."""
        if not update.full and update.version <= self.list_version:
            return False
        entries = self._memory["list"]
        if update.full:
            entries.clear()
        for id_tag, tag in update.entries:
            if tag is None:
                entries.pop(id_tag.casefold(), None)
            else:
                entries[id_tag.casefold()] = tag
        self.list_version = update.version
        return True

    def _by_memory(self, id_tag: str, now_ms: int) -> Tag | None:
        key = id_tag.casefold()
        tag = self._memory["list"].get(key) or self._memory["cache"].get(key)
        if tag is None:
            return None
        if accepted(tag) and tag.expiry_ms is not None and tag.expiry_ms <= now_ms:
            return Tag(AuthStatus.EXPIRED.value, tag.expiry_ms, tag.parent)
        if tag.status == AuthStatus.CONCURRENT_TX.value:  # that was true of the moment, not of the card
            return Tag(AuthStatus.ACCEPTED.value, tag.expiry_ms, tag.parent)
        return tag

    def _by_site(self, id_tag: str, now_ms: int) -> Tag:
        tokens = self._tokens.get(id_tag.casefold(), [])
        if any(
            (token.from_ms is None or token.from_ms <= now_ms) and (token.to_ms is None or now_ms < token.to_ms)
            for token in tokens
        ):
            return Tag(AuthStatus.ACCEPTED.value)
        over = any(token.to_ms is not None and token.to_ms <= now_ms for token in tokens)
        return Tag(AuthStatus.EXPIRED.value if over else AuthStatus.INVALID.value)


def _either(csms: Tag | None, site: Tag) -> Tag:
    if csms is None:
        return site
    for tag in (csms, site):
        if tag.status in _VETO:
            return tag
    return csms if accepted(csms) or not accepted(site) else site
