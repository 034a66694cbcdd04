"""A configuration as running flows: which reader belongs to which gate, and who serves which request.

`Wiring` holds the flows of one configuration and hands each thing a device says to the flow it concerns. At a reload a
new wiring takes over the flows whose part of the configuration did not change, timers and all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from drivers.api import DeviceEvent, InputChanged, PrinterStatus, Reading
from gateway.config.drawers import carrier_of, contact_of
from gateway.config.schema import Configuration, Device, Gate
from gateway.devices.registry import DRIVERS, DriverEntry
from gateway.devices.supervisor import DeviceSlot
from gateway.domain import authenticity, drawers, gates
from gateway.flows.desk import Handler
from gateway.flows.drawer import DrawerFlow
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import GateFlow
from gateway.flows.inputs import InputsFlow
from gateway.flows.noting import note
from gateway.flows.outputs import OutputsFlow
from gateway.flows.printing import PrintFlow
from gateway.flows.purchase import PurchaseFlow
from gateway.flows.recorder import Recorder
from gateway.flows.redeem import RedeemFlow
from gateway.flows.shared_contact import concerned
from gateway.flows.shift import ShiftFlow
from gateway.flows.why import WhyFlow
from gateway.flows.zones import OrdersFlow
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

Spawn = Callable[..., asyncio.Task[None]]
Slots = Mapping[str, DeviceSlot]
GateParts = tuple[Gate, DeviceSlot | None, DeviceSlot | None]
"""A gate of the configuration, the slot of its lock and that of its passage contact."""
_READS = frozenset({"reader", "scanner"})


class DrawerPort:
    """A drawer at a printer or at a relay: there exactly while what it hangs on is."""

    def __init__(self, device: Device, carrier: DeviceSlot, entry: DriverEntry) -> None:
        """Join a configured drawer to the slot of its printer or its board; `entry` makes its driver."""
        self.carrier = carrier
        self.options: Any = device.options
        self._build = entry.build

    @property
    def online(self) -> bool:
        """True while the printer or the board is there."""
        return self.carrier.online

    def drawer(self) -> Any:  # noqa: ANN401 - it is a drivers.api.Drawer
        """Return the live drawer; raises DeviceOffline while what it hangs on is away."""
        return self._build(self.options, self.carrier.live())


class Wiring:
    """The flows of the configuration in force."""

    def __init__(
        self,
        recorder: Recorder,
        entry: EntryFlow,
        purchase: PurchaseFlow,
        spawn: Spawn,
        drivers: Mapping[str, DriverEntry] = DRIVERS,
    ) -> None:
        """Begin with nothing configured."""
        self._recorder = recorder
        self._entry = entry
        self._purchase = purchase
        self._spawn = spawn
        self._drivers = drivers
        self._gate_configs: dict[str, GateParts] = {}
        self.gates: dict[str, GateFlow] = {}
        self.printers: dict[str, PrintFlow] = {}
        self.drawers: dict[str, DrawerFlow] = {}
        self.readers: dict[str, DeviceSlot] = {}
        self.tap_refused: Callable[[str], None] = lambda _reader: None
        self.orders = OrdersFlow(recorder, entry.lookup, self.gates, spawn)
        self.inputs = InputsFlow(recorder, self.orders, self.gates)
        self.outputs = OutputsFlow(self.gates, spawn)
        self._why = WhyFlow(recorder, entry)
        self._redeem = RedeemFlow(recorder, entry.lookup)
        self._shifts = ShiftFlow(recorder, self.printers)
        self._printer_tasks: dict[str, asyncio.Task[None]] = {}
        self._printer_slots: dict[str, DeviceSlot] = {}
        self._drawer_ports: dict[str, DrawerPort] = {}
        self._drawer_digests: dict[str, str] = {}
        self._gate_of_reader: dict[str, str] = {}
        self._gates_of_contact: dict[tuple[str, int], tuple[str, ...]] = {}
        self._drawer_of_contact: dict[tuple[str, int], tuple[str, bool]] = {}
        self._statuses: dict[str, PrinterStatus] = {}
        self._active: dict[tuple[str, int], bool] = {}
        self._boards: dict[str, DeviceSlot] = {}

    def is_part(self, device: Device) -> bool:
        """Return True for a device without a link of its own, as a drawer at its printer."""
        return self._drivers[device.driver].kind == "drawer"

    def configure(self, configuration: Configuration, slots: Slots) -> None:
        """Make the flows those of a configuration, keeping each whose part of it is the same."""
        self._configure_gates(configuration, slots)
        note(self._recorder, "a removed gate", *gates.after_removal(self._recorder.state, self.gates))
        self._configure_printers(configuration, slots)
        self._configure_drawers(configuration, slots)
        self._gate_of_reader = {reader: gate.name for gate in configuration.gates.values() for reader in gate.readers}
        self._gates_of_contact = {}
        for gate in configuration.gates.values():
            if gate.passage is not None:
                key = (gate.passage.device, gate.passage.channel)
                self._gates_of_contact[key] = (*self._gates_of_contact.get(key, ()), gate.name)
        for name, flow in self.gates.items():
            flow.neighbours = tuple(self.gates[other] for other in configuration.boards.neighbours(name))
        self.inputs.configure(configuration.boards.inputs)
        self._tell_anew(slots)
        self.outputs.configure(configuration.boards.outputs, slots, lambda: self.inputs.standing)
        asked = frozenset(configuration.authenticity.required_for)
        for asking in (self._entry, self._purchase, self._redeem):
            asking.authenticity.required_for = asked
        self._entry.configure(self.gates, configuration.venue.zone_info, configuration.venue.id)
        self.readers = readers = {
            name: slot for name, slot in slots.items() if self._drivers[slot.device.driver].kind in _READS
        }
        self._purchase.configure(configuration.wallet_policy, configuration.wallet.arm_timeout_s, readers)
        self._purchase.lookup.venue_id = configuration.venue.id
        self._redeem.configure(configuration.venue.zone_info, configuration.wallet.arm_timeout_s, readers)
        self._purchase.cashier.configure(configuration.tills)
        self._shifts.configure(configuration.tills, configuration.limits, configuration.venue)
        resets = {name: zone.reset_time for name, zone in configuration.zones.items()}
        self.orders.configure(
            {name: at for name, at in resets.items() if at is not None}, configuration.venue.zone_info
        )
        # Gates that are new, and those whose zones are other ones now, take up what was ordered before.
        self.orders.follow()

    def handlers(self) -> dict[str, Mapping[str, Handler]]:
        """Return what serves each verb of each gate, printer and drawer, and of the wallets."""
        flows: dict[str, GateFlow | PrintFlow | DrawerFlow] = {**self.gates, **self.printers, **self.drawers}
        found: dict[str, Mapping[str, Handler]] = {name: flow.handlers() for name, flow in flows.items()}
        found["wallet"] = self._purchase.handlers()
        found["entitlements"] = self._redeem.handlers()
        found |= self._shifts.handlers()
        for gate in self.gates:
            found[gate] = {
                **found[gate],
                "authenticate": Handler(self._entry.take_authenticate, moves_metal=True),
                "override": Handler(self._entry.take_override, moves_metal=True),
                "why": Handler(self._why.take_why, repeatable=True),
            }
        return found

    def device_said(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        """Hand what a device told to the flow it concerns."""
        if isinstance(event, Reading):
            self._tapped(slot.name, event)
        elif isinstance(event, InputChanged):
            self._contact_moved(slot.name, event)
            self._active[slot.name, event.channel] = event.active
            drawer, open_is_active = self._drawer_of_contact.get((slot.name, event.channel), ("", True))
            if drawer:
                self.drawers[drawer].contact_changed(is_open=event.active == open_is_active)
        elif isinstance(event, PrinterStatus):
            self._statuses[slot.name] = event
            self._printer_changed(slot, event)

    def _tell_anew(self, slots: Slots) -> None:
        """Tell flows that are new what is known already: boards and printers speak of changes only."""
        told = {key: active for key, active in self._active.items() if key[0] in slots and slots[key[0]].online}
        for (board, channel), active in told.items():
            if active:
                self._contact_moved(board, InputChanged(channel, active=True))
        for key, (drawer, open_is_active) in self._drawer_of_contact.items():
            if key in told:
                self.drawers[drawer].contact_changed(is_open=told[key] == open_is_active)
            elif slots[key[0]].online:
                self.drawers[drawer].contact_answers(rests_open=not open_is_active)
        for name, port in self._drawer_ports.items():
            if (status := self._statuses.get(port.carrier.name)) is not None:
                self.drawers[name].printer_changed(status)

    def _contact_moved(self, board: str, event: InputChanged) -> None:
        flows = [self.gates[name] for name in self._gates_of_contact.get((board, event.channel), ())]
        for gate in concerned(flows, active=event.active):
            gate.contact_changed(active=event.active)
        self.inputs.contact_changed(board, event.channel, active=event.active)

    def device_changed(self, slot: DeviceSlot) -> None:
        """A device came or went."""
        if not slot.online:
            self._statuses.pop(slot.name, None)
            # A board that is back tells of the inputs that are away from rest.
            self._active = {key: active for key, active in self._active.items() if key[0] != slot.name}
        if slot.name in self.printers and self._printer_slots[slot.name] is slot:
            self.printers[slot.name].printer_changed()
        for gate, (_, lock, contact) in self._gate_configs.items():
            if contact is slot:
                self._contact_changed(self.gates[gate], slot)
            if lock is slot and slot.online:
                self.gates[gate].lock_answers()
        if slot.online:
            self.outputs.board_is_back(slot)
            self._drawer_contacts_answer(slot.name)

    def _drawer_contacts_answer(self, board: str) -> None:
        for (device, _), (drawer, open_is_active) in self._drawer_of_contact.items():
            if device == board:
                self.drawers[drawer].contact_answers(rests_open=not open_is_active)

    def _contact_changed(self, gate: GateFlow, contact: DeviceSlot) -> None:
        if contact.online:
            gate.contact_answers()
        else:
            gate.contact_lost()

    def gates_at(self, slot: DeviceSlot) -> list[str]:
        """Return the gates whose lock or passage contact is on a board."""
        return [name for name, parts in self._gate_configs.items() if slot in parts[1:]]

    def printer_status(self, name: str) -> PrinterStatus | None:
        """Return what a printer last said of itself; None when it said nothing or is away."""
        return self._statuses.get(name)

    def drawer_online(self, name: str) -> bool:
        """Return True while a drawer can be opened."""
        return self._drawer_ports[name].online

    async def drawer_contact(self, name: str) -> bool | None:
        """Return what a drawer's contact reads now: its printer's pin high, or its input active; None: nobody can say.

        Raises DriverError.
        """
        port = self._drawer_ports[name]
        watching = [key for key, (drawer, _) in self._drawer_of_contact.items() if drawer == name]
        if watching:
            # A board tells only of inputs that are away from rest.
            return self._active.get(watching[0], False) if self._boards[watching[0][0]].online else None
        if port.carrier.name not in self.printers:
            return None
        status = await port.carrier.live().status()
        return status.drawer_pin_high if status is not None else None

    def drawers_at(self, device: str) -> list[str]:
        """Return the drawers that hang on a printer or a board, with their solenoid or with their contact."""
        watched = {drawer for (board, _), (drawer, _) in self._drawer_of_contact.items() if board == device}
        return [name for name, port in self._drawer_ports.items() if port.carrier.name == device or name in watched]

    def storage_recovered(self) -> None:
        """The journal takes events again and the state was rebuilt: what is there is told anew, and queues go on."""
        for gate in self.gates.values():
            gate.storage_recovered()
        for drawer in self.drawers.values():
            drawer.storage_recovered()
        for printer in self.printers.values():
            printer.look_again()
        self._purchase.storage_recovered()
        self.inputs.storage_recovered()
        self._redeem.storage_recovered()
        self.orders.follow()

    def close(self) -> None:
        """Stop every timer and queue."""
        self._purchase.close()
        self.outputs.close()
        self._redeem.close()
        for gate in self.gates.values():
            gate.close()
        for drawer in self.drawers.values():
            drawer.close()
        for name in list(self.printers):
            self._drop_printer(name)

    def _tapped(self, reader: str, reading: Reading) -> None:
        """A card pays or redeems where a reader waits for it, else it asks for entry; at a till it does nothing."""
        gate = self._gate_of_reader.get(reader)
        try:
            evidence = authenticity.NONE
            if reading.proven is not None:
                evidence = authenticity.Evidence(reading.proven, reading.counter)
            if self._purchase.tap(reader, reading.technology, reading.value, evidence):
                return
            if self._redeem.tap(reader, reading.technology, reading.value, evidence):
                return
            if gate is not None:
                self._entry.tap(gate, reading.technology, reading.value, reader, evidence=evidence)
        except StorageUnavailable as error:
            log.error("tap_refused", reader=reader, gate=gate, reason="storage_unavailable", why=str(error))
            self.tap_refused(reader)

    def _printer_changed(self, slot: DeviceSlot, status: PrinterStatus) -> None:
        if slot.name in self.printers:
            self.printers[slot.name].printer_changed(status)
        for name in self.drawers_at(slot.name):
            self.drawers[name].printer_changed(status)

    def _configure_gates(self, configuration: Configuration, slots: Slots) -> None:
        wanted = {gate.name: _parts(gate, slots) for gate in configuration.gates.values()}
        changed = [name for name, parts in self._gate_configs.items() if wanted.get(name) != parts]
        before = {name: self.gates.pop(name) for name in changed}
        for flow in before.values():
            flow.close()
        for name, (gate, lock, contact) in wanted.items():
            if name not in self.gates:
                flow = self.gates[name] = GateFlow(gate, self._recorder, lock, contact)
                if name in before:
                    flow.take_over(before[name])
                elif lock is not None and lock.online:
                    # A board that was there before its gate reports no return that would end an old fault.
                    flow.lock_answers()
        for name, flow in before.items():
            if name not in self.gates:
                flow.retire()
        self._gate_configs = wanted

    def _configure_printers(self, configuration: Configuration, slots: Slots) -> None:
        wanted = {name: slot for name, slot in slots.items() if self._drivers[slot.device.driver].kind == "printer"}
        for name in [name for name, slot in self._printer_slots.items() if wanted.get(name) is not slot]:
            self._drop_printer(name)
        for name, slot in wanted.items():
            if name in self.printers:
                self.printers[name].configure(configuration.limits)
            else:
                flow = self.printers[name] = PrintFlow(name, self._recorder, slot, configuration.limits)
                self._printer_slots[name] = slot
                self._printer_tasks[name] = self._spawn(flow.run())

    def _drop_printer(self, name: str) -> None:
        self.printers.pop(name).close()
        self._printer_slots.pop(name)
        self._printer_tasks.pop(name).cancel()

    def _configure_drawers(self, configuration: Configuration, slots: Slots) -> None:
        wanted = {name: one for name, one in configuration.devices.items() if self.is_part(one)}
        before: dict[str, DrawerFlow] = {}
        for name in [name for name, digest in self._drawer_digests.items() if _digest(wanted.get(name)) != digest]:
            before[name] = self.drawers.pop(name)
            before[name].close()
            del self._drawer_ports[name], self._drawer_digests[name]
        for name, device in wanted.items():
            if name not in self.drawers:
                self._add_drawer(device, slots)
                if name in before:
                    self.drawers[name].take_over(before[name])
        self._drawer_of_contact = {
            (found[0].device, found[0].channel): (name, found[1])
            for name, device in wanted.items()
            if (found := contact_of(device)) is not None
        }
        self._boards = {board: slots[board] for board, _ in self._drawer_of_contact}

    def _add_drawer(self, device: Device, slots: Slots) -> None:
        options: Any = device.options
        open_is_high = getattr(options, "open_is_high", None)
        if open_is_high is None and contact_of(device) is None:
            # An alarm from when it had a contact would stand for ever.
            note(self._recorder, device.name, *drawers.found_closed(self._recorder.state, device.name))
        port = DrawerPort(device, slots[carrier_of(device)], self._drivers[device.driver])
        self._drawer_ports[device.name] = port
        self._drawer_digests[device.name] = device.digest
        self.drawers[device.name] = DrawerFlow(
            device.name,
            self._recorder,
            port,
            self._spawn,
            open_is_high=open_is_high,
            left_open_s=options.left_open_s,
        )


def _parts(gate: Gate, slots: Slots) -> GateParts:
    lock = slots.get(gate.lock.device) if gate.lock else None
    return gate, lock, slots.get(gate.passage.device) if gate.passage else None


def _digest(device: Device | None) -> str | None:
    return device.digest if device is not None else None
