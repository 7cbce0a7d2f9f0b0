// Random numbers that depend on a seed alone, so that a link shows the same picture again.

/** A generator of the xoshiro128** family, seeded by whole numbers. */
export class Random {
  constructor(...seeds) {
    let mixed = 0x9e3779b9;
    const next = () => {
      mixed = (mixed + 0x9e3779b9) | 0;
      let word = mixed ^ (mixed >>> 16);
      word = Math.imul(word, 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      return (word ^ (word >>> 15)) >>> 0;
    };
    for (const seed of seeds) mixed = (next() ^ seed) | 0;
    this.state = [next(), next(), next(), next()];
    this.spare = null;
  }

  /** Returns 32 random bits. */
  bits() {
    const s = this.state;
    const turned = Math.imul(s[1], 5);
    const result = Math.imul((turned << 7) | (turned >>> 25), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** Returns a number in [0, 1). */
  uniform() {
    return this.bits() / 2 ** 32;
  }

  /** Returns a number of the standard normal distribution (Box and Muller, 1958). */
  normal() {
    if (this.spare !== null) {
      const spare = this.spare;
      this.spare = null;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}
