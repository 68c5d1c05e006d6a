/**
 * A stream whose first item is on its way before anybody asks for it. Its reader ends it as any other, by reading to the end or
 * with `return`, also when he never began.
 */
export function begun<T>(stream: AsyncGenerator<T>): AsyncIterableIterator<T, void> {
  let first: Promise<IteratorResult<T>> | undefined = stream.next()
  // Told to who asks for it.
  first.catch(() => {})
  return {
    next() {
      const item = first ?? stream.next()
      first = undefined
      return item
    },
    return: () => stream.return(undefined),
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
