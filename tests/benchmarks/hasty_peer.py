"""A gateway as the benchmark's peer is one, with its files and its table: `python hasty_peer.py hasty|careful`.

The hasty one acknowledges what it has in memory and stores it by and by; the careful one stores first.
"""

import json
import os
import sqlite3
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

BATCH_EVERY_S = 0.1


def storage(folder: Path) -> sqlite3.Connection:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    database = sqlite3.connect(data / "data.db", isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    table = "messages (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL, message TEXT NOT NULL)"
    database.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    return database


def store(database: sqlite3.Connection, message: MQTTMessage) -> None:
    series = [{"ts": 1, "values": {"id": json.loads(message.payload)["id"]}}]
    row = json.dumps({"deviceName": "gate", "telemetry": series})
    database.execute("INSERT INTO messages (timestamp, message) VALUES (1, ?)", (row,))


def main() -> None:
    careful = sys.argv[1] == "careful"
    folder = Path(os.environ["TB_GW_CONFIG_DIR"])
    connector = json.loads((folder / "mqtt.json").read_text())
    database, taken = storage(folder), SimpleQueue()
    client = Client(CallbackAPIVersion.VERSION2, "peer", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=careful)

    def took(_: Client, __: object, message: MQTTMessage) -> None:
        if careful:
            store(database, message)
            client.ack(message.mid, message.qos)
        else:
            taken.put(message)

    client.on_message = took
    client.on_connect = lambda *_: client.subscribe(connector["mapping"][0]["topicFilter"], 1)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 600
    client.connect("127.0.0.1", connector["broker"]["port"], clean_start=False, properties=session)
    client.loop_start()
    while True:
        threading.Event().wait(BATCH_EVERY_S)
        for _ in range(taken.qsize()):
            store(database, taken.get())


main()
