// What drivers say of a device, for a German reader. `{}` stands for what only the sentence of the moment knows: a port, a
// system's own words; it stays as it is, and in its order. What is not listed is shown as it came.

const SENTENCES_DE = [
  ["the configuration changed or the gateway stops", "die Konfiguration wurde geändert, oder das Gateway endet"],
  ["it says more than {} things a second; check its cable, its settings and itself", "es meldet mehr als {} Dinge je Sekunde; Kabel, Einstellungen und das Gerät selbst prüfen"],
  ["it did not open within {} s; unplug it and plug it in again", "es ging nach {} s nicht auf; ausstecken und wieder einstecken"],
  ["what answers is no {} or is set up otherwise; check the address and its settings", "was antwortet, ist kein {} oder anders eingestellt; Adresse und Einstellungen prüfen"],
  ["the driver stopped itself", "der Treiber hat sich selbst beendet"],
  ["the driver ended by itself", "der Treiber hat von selbst aufgehört"],
  ["the driver {} failed; the log has the details", "der Treiber {} ist gescheitert; Näheres steht im Log"],
  ["its bus {} was left behind and is started anew", "sein Bus {} hing und wird neu gestartet"],
  ["{} is not connected yet", "{} ist noch nicht verbunden"],

  ["{} does not exist: check the cable and the name; {}", "{} gibt es nicht: Kabel und Namen prüfen; {}"],
  ["{} may not be opened by user {}: run 'sudo adduser {} dialout' and start again", "{} darf vom Benutzer {} nicht geöffnet werden: 'sudo adduser {} dialout' ausführen und neu starten"],
  ["{} is in use by {}: stop that, or name another port", "{} wird von {} benutzt: das beenden oder einen anderen Anschluss nennen"],
  ["{} is there but no device answers behind it: plug it out and in again", "{} ist da, aber dahinter antwortet kein Gerät: ausstecken und wieder einstecken"],
  ["{} cannot be set up: {}; check that it is a serial port, and its baud rate", "{} lässt sich nicht einstellen: {}; ist es ein serieller Anschluss, stimmt die Baudrate?"],
  ["{} cannot be opened: {}", "{} lässt sich nicht öffnen: {}"],
  ["{} is no address: check the spelling of the host, and that the port is 1 to 65535", "{} ist keine Adresse: Schreibweise prüfen; der Port geht von 1 bis 65535"],
  ["{} does not answer: check that it is switched on, its cable and its address", "{} antwortet nicht: eingeschaltet? Kabel und Adresse prüfen"],
  ["{} refuses connections: check the port, and whether someone else is connected", "{} lehnt Verbindungen ab: Port prüfen, und ob jemand anderes verbunden ist"],
  ["{} cannot be reached: check the network cable, the address and the netmask", "{} ist nicht erreichbar: Netzwerkkabel, Adresse und Netzmaske prüfen"],
  ["{} has no known address: check the spelling, or write its IP address", "{} hat keine bekannte Adresse: Schreibweise prüfen oder die IP-Adresse eintragen"],
  ["{} closed the connection: it may have been switched off or restarted", "{} hat die Verbindung beendet: vielleicht ausgeschaltet oder neu gestartet"],
  ["{} is gone: unplugged, without power, or opened by another program", "{} ist weg: ausgesteckt, ohne Strom oder von einem anderen Programm geöffnet"],
  ["{} no longer answers: check its power and its network cable", "{} antwortet nicht mehr: Strom und Netzwerkkabel prüfen"],
  ["{} broke the connection: it may have been switched off or restarted", "{} hat die Verbindung abgebrochen: vielleicht ausgeschaltet oder neu gestartet"],
  ["the connection to {} broke: {}", "die Verbindung zu {} ist abgebrochen: {}"],
  ["the connection to {} is closed", "die Verbindung zu {} ist beendet"],
  ["{} is busy: it takes no more data; check whether it has stopped or is jammed", "{} nimmt keine Daten mehr an; steht es still oder klemmt etwas?"],
  ["{} names no connection: write /dev/serial/by-id/… or tcp://HOST:PORT", "{} nennt keinen Anschluss: /dev/serial/by-id/… oder tcp://HOST:PORT schreiben"],

  ["{} is being started", "{} wird gestartet"],
  ["{} takes no more commands; it is started anew if it hangs", "{} nimmt keine Befehle mehr an; falls es hängt, wird es neu gestartet"],
  ["{}: the process has no output", "{}: der Prozess hat keine Ausgabe"],
  ["{}: its process crashed ({}) and is started anew", "{}: sein Prozess ist abgestürzt ({}) und wird neu gestartet"],
  ["{}: its process said what nobody understands, and is started anew", "{}: sein Prozess sagte, was niemand versteht, und wird neu gestartet"],
  ["{} floods: more than {} lines a second; started anew", "{} überschwemmt: mehr als {} Zeilen je Sekunde; wird neu gestartet"],
  ["{} hung for {} s; its process is started anew", "{} hing {} s lang; sein Prozess wird neu gestartet"],
  ["{} wrote a line without an end; its process is started anew", "{} schrieb eine Zeile ohne Ende; sein Prozess wird neu gestartet"],
  ["{}: no reader that nfcpy knows is there; check cable and rights (see lsusb)", "{}: kein Leser da, den nfcpy kennt; Kabel und Rechte prüfen (siehe lsusb)"],

  ["libusb is missing: install the package libusb-1.0-0", "libusb fehlt: das Paket libusb-1.0-0 installieren"],
  ["libusb is not installed: run 'sudo apt-get install libusb-1.0-0'", "libusb ist nicht installiert: 'sudo apt-get install libusb-1.0-0' ausführen"],
  ["{} names no USB device: write usb://VENDOR:PRODUCT/SERIAL, as in lsusb", "{} nennt kein USB-Gerät: usb://VENDOR:PRODUCT/SERIAL schreiben, wie in lsusb"],
  ["{} is plugged in {} times; write which one: {}", "{} ist {}-mal eingesteckt; welches davon, gehört in die Konfiguration: {}"],
  ["{} is not there: check its power, its cable and the address; {}", "{} ist nicht da: Strom, Kabel und Adresse prüfen; {}"],
  ["{} did not answer within {} ms", "{} antwortete nicht innerhalb von {} ms"],
  ["{} may not be opened: install the gateway's udev rules and plug it in again", "{} darf nicht geöffnet werden: die udev-Regeln des Gateways installieren und neu einstecken"],
  ["{} is gone: unplugged or without power", "{} ist weg: ausgesteckt oder ohne Strom"],
  ["{} is in use by another program: stop that", "{} wird von einem anderen Programm benutzt: das beenden"],
  ["{} is in use by another program, such as CUPS: stop that", "{} wird von einem anderen Programm benutzt, etwa CUPS: das beenden"],
  ["{} cannot be spoken to: {}", "{} lässt nicht mit sich reden: {}"],
  ["{} does not come back: unplug it and plug it in again", "{} kommt nicht wieder: ausstecken und wieder einstecken"],
  ["{} is not plugged in", "{} ist nicht eingesteckt"],
  ["{} USB relay boards are plugged in: name one by `serial` or `usb_path`; `venue-gateway discover` lists them", "{} USB-Relaiskarten sind eingesteckt: eine mit `serial` oder `usb_path` nennen; `venue-gateway discover` zeigt sie"],
  ["{} answers nonsense: set `variant: hidrelay` if it is such a board", "{} antwortet Unsinn: `variant: hidrelay` setzen, falls es so eine Karte ist"],
  ["{} did not move relay {}: check `channels`, and the board", "{} hat Relais {} nicht bewegt: `channels` und die Karte prüfen"],
  ["nobody knows whether the line moved: {}", "niemand weiß, ob sich die Leitung bewegt hat: {}"],

  ["{} is closed", "{} ist geschlossen"],
  ["keyboard wedges need python-evdev: install venue-gateway[wedge]", "Scanner als Tastatur brauchen python-evdev: venue-gateway[wedge] installieren"],
  ["{} does not exist: check the cable and the name; ls /dev/input/by-id shows them", "{} gibt es nicht: Kabel und Namen prüfen; ls /dev/input/by-id zeigt sie"],
  ["{} may not be opened: add the gateway's user to the group `input`", "{} darf nicht geöffnet werden: den Benutzer des Gateways in die Gruppe `input` aufnehmen"],
  ["{} is grabbed by another program: stop that", "{} hat ein anderes Programm für sich: das beenden"],
  ["{} is no input device: name one under /dev/input/by-id that ends in -event-kbd", "{} ist kein Eingabegerät: eines unter /dev/input/by-id nennen, das auf -event-kbd endet"],
  ["{} floods: more than {} reports a second", "{} überschwemmt: mehr als {} Meldungen je Sekunde"],
  ["{} types on and on: let go of its trigger, take the code away", "{} tippt immer weiter: Auslöser loslassen, Code wegnehmen"],
  ["{} is no keyboard that can be read over USB: set the scanner to keyboard (HID), or name it by its input device under /dev/input/by-id, run 'sudo venue-gateway scanners apply' again, and restart", "{} ist keine Tastatur, die über USB lesbar ist: den Scanner auf Tastatur (HID) stellen, oder sein Eingabegerät unter /dev/input/by-id nennen, 'sudo venue-gateway scanners apply' noch einmal ausführen und neu starten"],
  ["{} may not be opened: run 'sudo venue-gateway scanners apply', then plug it out and in", "{} darf nicht geöffnet werden: 'sudo venue-gateway scanners apply' ausführen, dann aus- und einstecken"],
  ["{} does not answer on USB: plug it out and in again", "{} antwortet am USB nicht: ausstecken und wieder einstecken"],

  ["{} does not exist: check the printer's power and cable, and 'ls /dev/usb'", "{} gibt es nicht: Strom und Kabel des Druckers prüfen, und 'ls /dev/usb'"],
  ["{} may not be opened by user {}: run 'sudo adduser {} lp' and start again", "{} darf vom Benutzer {} nicht geöffnet werden: 'sudo adduser {} lp' ausführen und neu starten"],
  ["{} may not be opened by user {}: run 'sudo adduser {} lp' and start again; if that does not help, it needs a udev rule, which docs/hardware/printers.md has", "{} darf vom Benutzer {} nicht geöffnet werden: 'sudo adduser {} lp' ausführen und neu starten; hilft das nicht, fehlt eine udev-Regel, die in docs/hardware/printers.md steht"],
  ["{} does not answer on USB: plug it out and in again, or switch it off and on", "{} antwortet am USB nicht: aus- und einstecken, oder aus- und einschalten"],
  ["{} is no printer: it has nothing to send a receipt to; check the address with lsusb", "{} ist kein Drucker: nichts nimmt dort einen Bon an; die Adresse mit lsusb prüfen"],
  ["{} is connected but does not answer: switch the printer off and on", "{} ist verbunden, antwortet aber nicht: den Drucker aus- und einschalten"],
  ["{} no longer answers: check its power, its cable and its display", "{} antwortet nicht mehr: Strom, Kabel und Anzeige prüfen"],
  ["{} is not connected: check its power and its cable", "{} ist nicht verbunden: Strom und Kabel prüfen"],
  ["{}: a job was given up half-way; some of it may be printed", "{}: ein Auftrag wurde mittendrin aufgegeben; ein Teil kann gedruckt sein"],
  ["{}: a job was given up half-way; some may be printed", "{}: ein Auftrag wurde mittendrin aufgegeben; ein Teil kann gedruckt sein"],
  ["{} got only part of a job, and some of it may be printed: {}", "{} bekam nur einen Teil eines Auftrags, und ein Teil davon kann gedruckt sein: {}"],
  ["{} did not take the drawer pulse in time; check whether the drawer is open", "{} nahm den Impuls für die Lade nicht rechtzeitig an; nachsehen, ob sie offen ist"],

  ["{} does not answer: check its power, the A and B wires, its address and its baud rate", "{} antwortet nicht: Strom, die Adern A und B, Adresse und Baudrate prüfen"],
  ["{} does not say its state: {}; check relays and inputs", "{} sagt nicht, wie es steht: {}; Relais und Eingänge prüfen"],
  ["the link broke while a command was on its way: {}", "die Verbindung brach ab, als ein Befehl unterwegs war: {}"],
  ["the link broke before the board answered: {}", "die Verbindung brach ab, bevor die Karte antwortete: {}"],
  ["no answer on {} within {} ms", "keine Antwort an {} innerhalb von {} ms"],
  ["no answer on {} in time", "keine rechtzeitige Antwort an {}"],
  ["{} says nothing: check its power and network, and in its own settings the broker's address, user and password and its topic", "{} meldet sich nicht: Strom und Netz prüfen, und in seinen eigenen Einstellungen Adresse, Benutzer und Passwort des Brokers und sein Topic"],
  ["{} refused: {}", "{} hat abgelehnt: {}"],
  ["{} was lost while a command was on its way", "{} ging verloren, als ein Befehl unterwegs war"],
  ["{} did not confirm the command in time", "{} hat den Befehl nicht rechtzeitig bestätigt"],
  ["{} does not exist: `gpiodetect` lists the chips of this computer", "{} gibt es nicht: `gpiodetect` zeigt die Chips dieses Computers"],
  ["{} may not be opened: add the gateway's user to the group gpio", "{} darf nicht geöffnet werden: den Benutzer des Gateways in die Gruppe gpio aufnehmen"],
  ["a line of {} is in use: `gpioinfo` shows by whom; disable that or take another line", "eine Leitung von {} ist belegt: `gpioinfo` zeigt von wem; das abschalten oder eine andere nehmen"],
  ["{} has no such line, or cannot pull it that way: {}; `gpioinfo` lists its lines", "{} hat keine solche Leitung, oder sie lässt sich so nicht ziehen: {}; `gpioinfo` zeigt seine Leitungen"],
  ["{} cannot be used: {}", "{} lässt sich nicht benutzen: {}"],

  ["OSDP reader {} has not answered yet", "der OSDP-Leser {} hat noch nicht geantwortet"],
  ["OSDP reader {} is gone", "der OSDP-Leser {} ist weg"],
  ["OSDP reader {} {}", "OSDP-Leser {} {}"],
  ["the OSDP bus on {} was stopped", "der OSDP-Bus an {} wurde angehalten"],
  ["there is an OSDP reader {} on {} already: change one address", "es gibt schon einen OSDP-Leser {} an {}: eine der Adressen ändern"],
  ["no TWN4 answers on {}: check its power, its speed and that it has the firmware for the Simple Protocol", "an {} antwortet kein TWN4: Strom, Geschwindigkeit und die Firmware für das Simple Protocol prüfen"],
  ["what answers on {} is no TWN4 with the Simple Protocol firmware", "was an {} antwortet, ist kein TWN4 mit der Firmware für das Simple Protocol"],
  ["the key file {} must hold {} hex digits and nothing else", "die Schlüsseldatei {} muss {} Hexadezimalziffern enthalten und sonst nichts"],
  ["the key file {} is neither a plain name nor an absolute path", "die Schlüsseldatei {} ist weder ein einfacher Name noch ein absoluter Pfad"],
  ["there is no credential {}: add LoadCredential={}:/etc/venue-gateway/{} to the service, or write the key file's absolute path", "einen Schlüssel {} gibt es nicht: LoadCredential={}:/etc/venue-gateway/{} in den Dienst aufnehmen, oder den absoluten Pfad der Schlüsseldatei schreiben"],
  ["the key file {} cannot be read: {}", "die Schlüsseldatei {} ist nicht lesbar: {}"],
  ["the key file {} can be read by others; run: chmod 600 {}", "die Schlüsseldatei {} ist für andere lesbar; ausführen: chmod 600 {}"],
];

const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
// A sentence with more words of its own says more exactly what is meant.
const patterns = [...SENTENCES_DE]
  .sort(([one], [other]) => other.replaceAll("{}", "").length - one.replaceAll("{}", "").length)
  .map(([english, german]) => [new RegExp(`^${english.split("{}").map(plain).join("(.*?)")}$`, "s"), german]);

// A driver's sentence in German, or as it came.
export function inGerman(text) {
  for (const [pattern, german] of patterns) {
    const found = pattern.exec(text);
    if (found) {
      const parts = found.slice(1);
      return german.replaceAll("{}", () => parts.shift());
    }
  }
  return text;
}
