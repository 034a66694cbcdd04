// Reads a QR code with the camera, where the browser can (BarcodeDetector: Chrome on Android, Safari by a setting).

const EVERY_MS = 200;

export const scan = {
  possible: "BarcodeDetector" in globalThis && Boolean(navigator.mediaDevices?.getUserMedia),

  // Shows what the camera sees in `video`, and calls `onText` with each code. Throws when the camera is not allowed.
  async start(onText) {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    await video.play();
    const detector = new BarcodeDetector({ formats: ["qr_code"] });
    let stopped = false, busy = false;
    const looking = setInterval(async () => {
      if (busy) return;
      busy = true;
      const found = await detector.detect(video).catch(() => []);
      busy = false;
      // Whoever has one code wants no other: it may have been stopped while this picture was looked at.
      if (found.length && !stopped) onText(found[0].rawValue);
    }, EVERY_MS);
    return { video, stop() { stopped = true; clearInterval(looking); stream.getTracks().forEach((track) => track.stop()); } };
  },
};
