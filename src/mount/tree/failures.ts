import { StoreError, withContext } from '../../support/errors.ts'

/** What a failing source is called in messages: its address, or another name a person can act on. */
export interface SourceNames {
  readonly pathInfos: string
  readonly directories: string
  readonly blobs: string
}

export const UNNAMED_SOURCES: SourceNames = {
  pathInfos: 'the path info service',
  directories: 'the directory service',
  blobs: 'the blob service',
}

/**
 * A source that could not serve `what`. Our questions are well-formed, so when a source finds something
 * invalid, it is its data: that is `corrupt`, and a process on the mount must not be told EINVAL.
 */
export function sourceFailure(what: string, source: string, error: unknown): StoreError {
  const failure = withContext(`${what}, from ${source}`, error)
  if (failure.code !== 'invalid-argument') return failure
  return new StoreError('corrupt', failure.message, { cause: error })
}

/** Something that is referred to and not there: the closure is incomplete. */
export function missing(what: string, source: string): StoreError {
  return new StoreError(
    'corrupt',
    `${what} is missing from ${source}: copy the store path there again, or verify that store`,
  )
}
