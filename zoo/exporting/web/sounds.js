// Sounds: waveform over spectrogram, playing, and WAV files.

const WINDOW = 256; // samples of a column of the spectrogram
const WIDTH = 256; // pixels of the picture
const WAVE = 64; // pixels of the waveform's height
const BANDS = 96; // pixels of the spectrogram's height
const FLOOR = -80; // decibels below the loudest that are black

/** Paints the waveform of samples over their spectrogram, low tones at the bottom. */
export function paintSound(canvas, { dims, data }) {
  const samples = data.subarray(0, dims[1]); // of the first channel
  Object.assign(canvas, { width: WIDTH, height: WAVE + BANDS });
  const context = canvas.getContext("2d");
  context.fillStyle = "#101214";
  context.fillRect(0, 0, WIDTH, WAVE + BANDS);
  context.fillStyle = "#7db9f5";
  const step = samples.length / WIDTH;
  for (let column = 0; column < WIDTH; column += 1) {
    const part = samples.subarray(Math.floor(column * step), Math.max(Math.floor((column + 1) * step), Math.floor(column * step) + 1));
    const [low, high] = part.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [1, -1]);
    const top = ((1 - high) * WAVE) / 2;
    context.fillRect(column, top, 1, Math.max(1, ((high - low) * WAVE) / 2));
  }
  paintSpectrum(context, samples);
}

function paintSpectrum(context, samples) {
  const columns = [];
  let loudest = 1e-9;
  for (let column = 0; column < WIDTH; column += 1) {
    const start = Math.round((column * Math.max(0, samples.length - WINDOW)) / (WIDTH - 1));
    const power = powerOf(samples, start);
    loudest = power.reduce((most, value) => Math.max(most, value), loudest);
    columns.push(power);
  }
  const pixels = new ImageData(WIDTH, BANDS);
  columns.forEach((power, column) => {
    for (let row = 0; row < BANDS; row += 1) {
      const band = Math.floor(((BANDS - 1 - row) * power.length) / BANDS);
      const level = 1 - (10 * Math.log10(Math.max(power[band], 1e-20) / loudest)) / FLOOR;
      const place = 4 * (row * WIDTH + column);
      pixels.data.set([255 * level, 220 * level * level, 180 * Math.max(0, level) ** 4 + 40 * Math.max(0, level), 255], place);
    }
  });
  context.putImageData(pixels, 0, WAVE);
}

/** Returns the power of WINDOW / 2 frequencies in a Hann window (a fast Fourier transform). */
function powerOf(samples, start) {
  const real = new Float64Array(WINDOW);
  const imaginary = new Float64Array(WINDOW);
  const bits = Math.log2(WINDOW);
  for (let place = 0; place < WINDOW; place += 1) {
    let reversed = 0;
    for (let bit = 0; bit < bits; bit += 1) reversed |= ((place >> bit) & 1) << (bits - 1 - bit);
    const weight = 0.5 - 0.5 * Math.cos((2 * Math.PI * place) / WINDOW);
    real[reversed] = weight * (samples[start + place] ?? 0);
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    for (let first = 0; first < WINDOW; first += size) {
      for (let each = 0; each < size / 2; each += 1) {
        const angle = (-2 * Math.PI * each) / size;
        const [even, odd] = [first + each, first + each + size / 2];
        const turnedReal = real[odd] * Math.cos(angle) - imaginary[odd] * Math.sin(angle);
        const turnedImaginary = real[odd] * Math.sin(angle) + imaginary[odd] * Math.cos(angle);
        [real[odd], imaginary[odd]] = [real[even] - turnedReal, imaginary[even] - turnedImaginary];
        [real[even], imaginary[even]] = [real[even] + turnedReal, imaginary[even] + turnedImaginary];
      }
    }
  }
  return real.subarray(0, WINDOW / 2).map((value, place) => value ** 2 + imaginary[place] ** 2);
}

let context;
let playing;

/** Plays a sound (channels, length); the one that plays stops. */
export function play({ dims: [channels, length], data }, rate) {
  context ??= new AudioContext();
  playing?.stop();
  const buffer = context.createBuffer(channels, length, Math.min(Math.max(rate, 3000), 384_000));
  for (let channel = 0; channel < channels; channel += 1) {
    buffer.copyToChannel(data.slice(channel * length, (channel + 1) * length), channel);
  }
  playing = context.createBufferSource();
  playing.buffer = buffer;
  playing.connect(context.destination);
  playing.start();
}

/** Returns a sound as a WAV file of 16 bits. */
export function asWav({ dims: [channels, length], data }, rate) {
  const size = 2 * channels * length;
  const view = new DataView(new ArrayBuffer(44 + size));
  const write = (place, text) => [...text].forEach((letter, index) => view.setUint8(place + index, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * channels * rate, true);
  view.setUint16(32, 2 * channels, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, size, true);
  for (let sample = 0; sample < length; sample += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      const value = Math.max(-1, Math.min(1, data[channel * length + sample]));
      view.setInt16(44 + 2 * (sample * channels + channel), Math.round(value * 32767), true);
    }
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}
