/**
 * What strict Ed25519 asks of the two points in a key and a signature (RFC 8032 §5.1.3; spec §6.6). OpenSSL
 * checks the equation and that S is reduced, but it takes any 32 bytes for a point, and only some releases of
 * Node refuse small order on top. With a point of small order as key, one signature is valid for many texts;
 * with two encodings of one point, one key has two forms.
 */

const P = 2n ** 255n - 19n
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n

/** The y of the eight points whose order divides 8; the last two solve d·y⁴ + 2y² − 1 = 0. */
const SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  P - 1n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n,
])

/** Whether 32 bytes are the canonical encoding of a point on the curve whose order is not small. */
export function isStrictPoint(encoded: Uint8Array): boolean {
  return isStrictEncoding(encoded) && isOnCurve(yOf(encoded))
}

/** The cheap half of `isStrictPoint`: canonical and not of small order, if it is on the curve at all. */
export function isStrictEncoding(encoded: Uint8Array): boolean {
  const y = yOf(encoded)
  // The sign bit of x = 0 is not canonical either, but both such points are of small order.
  return y < P && !SMALL_ORDER_Y.has(y)
}

/** Little endian, less the top bit, which is the sign of x. */
function yOf(encoded: Uint8Array): bigint {
  const bigEndian = Buffer.from(encoded).reverse()
  bigEndian[0]! &= 0x7f
  return BigInt(`0x${bigEndian.toString('hex')}`)
}

/** −x² + y² = 1 + d·x²·y² has a solution x: (y² − 1) / (d·y² + 1) is a square, by Euler's criterion. */
function isOnCurve(y: bigint): boolean {
  const y2 = (y * y) % P
  const numerator = (y2 - 1n + P) % P
  const denominator = (D * y2 + 1n) % P
  return power((numerator * denominator) % P, (P - 1n) / 2n) <= 1n
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  let square = base
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % P
    square = (square * square) % P
  }
  return result
}
