/** Enough for a median that one interruption does not move. */
export const ROUNDS = 5

/** A rival is measured as often as fits in so many seconds, and once at least: one that is a hundred times slower needs no median. */
const RIVAL_SECONDS = 3

/**
 * The figures of each, taken in turns, so that whatever else the machine does hits all of them alike. The first `own` of them
 * are measured in every round.
 */
export async function inTurns(
  measures: readonly (() => Promise<number>)[],
  own: number,
): Promise<number[][]> {
  const figures: number[][] = measures.map(() => [])
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, measure] of measures.entries()) {
      const known = figures[i]!
      const seconds = known.reduce((sum, figure) => sum + figure, 0)
      if (i < own || round === 0 || seconds < RIVAL_SECONDS) known.push(await measure())
    }
  return figures
}
