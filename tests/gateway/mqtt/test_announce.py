from __future__ import annotations

import asyncio

import aiomqtt

from gateway.mqtt.messages import DeviceEvent, DeviceState, GatewayState
from tests.gateway.mqtt.broker import WAIT_S, BrokerProcess, client, next_message
from tests.gateway.mqtt.fakes import BASE, answers, running

AT = "2026-06-01T00:00:00.000Z"
STATE = f"{BASE}/gateway/state"


def state(number: int) -> DeviceState:
    return DeviceState(state="online", at=AT, detail=f"v{number}")


async def until(other: aiomqtt.Client, topic: str, **fields: object) -> aiomqtt.Message:
    """The first message on `topic` that has these fields."""
    async with asyncio.timeout(WAIT_S):
        while True:
            message = await next_message(other)
            if message.topic.value == topic and message.payload:
                decoded = answers(message.payload)
                if all(decoded.get(key) == value for key, value in fields.items()):
                    return message


async def test_retained_topics_are_there_for_who_comes_later_and_after_a_broker_restart(broker: BrokerProcess) -> None:
    async with running(broker) as run:
        run.face.announcer.gateway_state(GatewayState(state="online", at=AT))
        run.face.announcer.device_state("bar-printer", state(1))
        assert await run.face.session.drain(WAIT_S)
        for _ in range(2):
            async with client(broker, f"{BASE}/gateway/+", f"{BASE}/devices/+/state") as other:
                await until(other, STATE, state="online")
                await until(other, f"{BASE}/devices/bar-printer/state", detail="v1")
            await broker.kill()
            await run.state(False)
            await broker.start()
            await run.state(True)
            assert await run.face.session.drain(WAIT_S)


async def test_many_changes_become_few_messages_and_the_last_one_always_comes(broker: BrokerProcess) -> None:
    topic = f"{BASE}/devices/bar-printer/state"
    async with client(broker, topic) as other, running(broker) as run:
        for number in range(1000):
            run.face.announcer.device_state("bar-printer", state(number))
        seen = [answers((await next_message(other)).payload)["detail"] for _ in range(2)]
        assert seen == ["v0", "v999"]
        run.face.announcer.device_state("bar-printer", state(999))
        run.face.announcer.gateway_state(GatewayState(state="online", at=AT))
        run.face.announcer.device_event("bar-printer", DeviceEvent(kind="status", at=AT))
        run.face.session.publish(topic, b"{}")
        assert (await next_message(other)).payload == b"{}"


async def test_the_will_says_offline_when_the_gateway_dies_and_online_comes_back(broker: BrokerProcess) -> None:
    async with client(broker, STATE) as other, running(broker) as run:
        run.face.announcer.gateway_state(GatewayState(state="online", at=AT))
        await until(other, STATE, state="online")
        assert run.face.session._connection is not None
        assert run.face.session._connection._transport is not None
        run.face.session._connection._transport.abort()
        await until(other, STATE, state="offline")
        await until(other, STATE, state="online")


async def test_a_goodbye_says_offline_and_why(broker: BrokerProcess) -> None:
    async with client(broker, STATE) as other, running(broker) as run:
        run.face.announcer.gateway_state(GatewayState(state="online", at=AT))
        await run.face.say_goodbye("stopped by the operator")
        message = await until(other, STATE, state="offline")
        assert answers(message.payload)["why"] == ["stopped by the operator"]


async def test_the_state_of_a_device_that_is_gone_is_cleared(broker: BrokerProcess) -> None:
    async with running(broker) as run:
        run.face.announcer.device_state("old-printer", state(1))
        run.face.announcer.device_state("bar-printer", state(1))
        assert await run.face.session.drain(WAIT_S)
    async with client(broker, f"{BASE}/devices/+/state") as other, running(broker, wait=False) as again:
        again.face.announcer.device_state("bar-printer", state(2))
        assert await cleared(other) == "old-printer"
        await again.state(connected=True)
        again.face.announcer.device_gone("bar-printer")
        assert await cleared(other) == "bar-printer"


async def cleared(other: aiomqtt.Client) -> str:
    """The next device whose retained state is removed."""
    async with asyncio.timeout(WAIT_S):
        while (message := await next_message(other)).payload:
            pass
    return message.topic.value.split("/")[3]


async def test_device_events_are_live_and_never_retained(broker: BrokerProcess) -> None:
    topic = f"{BASE}/devices/north-relay/events"
    async with client(broker, topic) as other, running(broker) as run:
        run.face.announcer.device_event("north-relay", DeviceEvent(kind="input", at=AT, data={"channel": 1}))
        message = await next_message(other)
        assert not message.retain
        assert answers(message.payload) == {"kind": "input", "at": AT, "data": {"channel": 1}}
