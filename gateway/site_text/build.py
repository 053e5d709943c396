"""Pure: checked tables -> the typed Site, with the defaults that depend on neighbours."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from gateway.model import ConnectorRef
from gateway.site import (
    Bus,
    Charger,
    Circuit,
    Cloud,
    Connector,
    Meter,
    Occupancy,
    Ocpp,
    Participant,
    Site,
    Split,
    Tariff,
    Token,
    Upstream,
)
from gateway.site_text.grammar import (
    BusTable,
    ChargerTable,
    CircuitTable,
    CloudTable,
    ConnectorKeys,
    OcppTable,
    SplitTable,
)
from gateway.site_text.tables import Tables
from gateway.site_text.whole import connector_phases, limit_ma


def build_site(tables: Tables, tariff: Tariff) -> Site:
    """It MUST already be established that nothing is wrong in `tables`."""
    assert tables.site is not None
    assert tables.ocpp is not None
    assert tables.split is not None
    zone = ZoneInfo(tables.site.timezone)
    return Site(
        id=tables.site.id,
        name=tables.site.name,
        timezone=tables.site.timezone,
        simulation=tables.site.simulation,
        signer=tables.site.signer,
        ocpp=_ocpp(tables.ocpp),
        upstreams=tuple(
            Upstream(
                id=table.id,
                url=table.url,
                identity=table.identity,
                secret=table.secret,
                heartbeat_s=table.heartbeat_s,
                boot_on_connect=table.boot_on_connect,
            )
            for table in tables.upstreams.values()
        ),
        circuits=tuple(_circuit(table) for table in tables.circuits.values()),
        buses=tuple(_bus(table) for table in tables.buses.values()),
        meters=tuple(Meter(**table.model_dump()) for table in tables.meters.values()),
        chargers=tuple(_charger(tables, table) for table in tables.chargers.values()),
        participants=tuple(Participant(**table.model_dump()) for table in tables.participants.values()),
        occupancies=tuple(
            Occupancy(
                participant=table.participant,
                tenant=table.tenant,
                from_ms=midnight_ms(table.from_, zone),
                to_ms=None if table.to is None else midnight_ms(table.to, zone),
            )
            for table in tables.occupancies.values()
        ),
        tokens=tuple(
            Token(
                id=table.id,
                tenant=table.tenant,
                kind=table.kind,
                from_ms=None if table.from_ is None else midnight_ms(table.from_, zone),
                to_ms=None if table.to is None else midnight_ms(table.to, zone),
            )
            for table in tables.tokens.values()
        ),
        split=_split(tables.split),
        tariff=tariff,
        cloud=None if tables.cloud is None else _cloud(tables.cloud),
    )


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The beginning of a local day, in UTC milliseconds."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _ocpp(table: OcppTable) -> Ocpp:
    return Ocpp(
        host=table.listen.host,
        port=table.listen.port,
        call_timeout_s=table.call_timeout_s,
        ping_s=table.ping_s or None,
        heartbeat_s=table.heartbeat_s,
        meter_values_s=table.meter_values_s,
        limit_duration_s=table.limit_duration_s,
    )


def _circuit(table: CircuitTable) -> Circuit:
    limit = limit_ma(table)
    house = table.house_worst_a or 0
    # Without its meter a circuit knows nothing better than the house's worst case.
    safe = max(0, limit - house) if table.safe_a is None else table.safe_a
    return Circuit(
        id=table.id,
        parent=table.parent,
        phases=tuple(sorted(table.phases)),
        fuse_a=table.fuse_a,
        fuse=table.fuse,
        limit_ma=limit,
        house_worst_ma=house,
        safe_ma=safe,
        imbalance_ma=table.imbalance_a,
        meter=table.meter,
    )


def _bus(table: BusTable) -> Bus:
    return Bus(**{key: value for key, value in table.model_dump().items() if value is not None})


def _charger(tables: Tables, table: ChargerTable) -> Charger:
    upstream = next(iter(table.upstreams), None)
    return Charger(
        id=table.id,
        connectors=tuple(
            _connector(table.id, number, connector)
            for _, charger, number, connector in tables.connectors()
            if charger is table
        ),
        dialect=table.dialect,
        upstream=upstream,
        secret=table.secret,
        offline=table.offline,
        authority=table.authority or ("site" if upstream is None else "csms"),
        offline_unknown=table.offline_unknown,
        offline_max_wh=table.offline_max_wh,
    )


def _connector(charger: str, number: int, table: ConnectorKeys) -> Connector:
    rotation, phases = connector_phases(table.rotation, table.phases)
    return Connector(
        ref=ConnectorRef(charger, number),
        circuit=table.circuit,
        rotation=(rotation[0], rotation[1], rotation[2]),
        phases=phases,
        min_ma=table.min_a,
        max_ma=table.max_a,
        fallback_ma=table.fallback_a,
        meter=table.meter,
        participant=table.participant,
    )


def _split(table: SplitTable) -> Split:
    return Split(
        balance=table.balance,
        key=table.key,
        keys={name: int(percent * 10_000) for name, percent in table.keys.items()},
        common_ceiling_w=table.common_ceiling_w,
        period=table.period,
        community=table.community,
        battery_capacity_wh=table.battery_capacity_wh,
    )


def _cloud(table: CloudTable) -> Cloud:
    host, port = table.address()
    return Cloud(
        host=host,
        port=port,
        mqtt=table.mqtt,
        tls=table.broker.startswith("mqtts"),
        username=table.username,
        secret=table.secret,
    )
