// What the page carries: the manifest of the exported files, their bytes, and the runtime's.

export const manifest = JSON.parse(document.getElementById("manifest").textContent);

/** Returns the bytes of an element that holds base64 of a gzip file. */
export async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let place = 0; place < packed.length; place += 1) bytes[place] = packed.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Returns the text of such an element. */
export async function unpackText(id) {
  return new TextDecoder().decode(await unpack(id));
}

/** Returns the SHA-256 of bytes in hexadecimal; "" where the browser computes none for this page. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return "";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
