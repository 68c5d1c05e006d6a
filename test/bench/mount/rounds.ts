/** Enough for a median that one interruption does not move. */
export const ROUNDS = 5

/** What takes so many seconds is measured once: a rival that is a hundred times slower needs no median. */
const SLOW_SECONDS = 3

/** The figures of each, taken in turns, so that whatever else the machine does hits all of them alike. */
export async function inTurns(measures: readonly (() => Promise<number>)[]): Promise<number[][]> {
  const figures: number[][] = measures.map(() => [])
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, measure] of measures.entries()) {
      const own = figures[i]!
      if (round === 0 || own[0]! < SLOW_SECONDS) own.push(await measure())
    }
  return figures
}
