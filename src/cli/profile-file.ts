import { readFile, rename, writeFile } from 'node:fs/promises'
import { type ProfileEntry, parseProfile, printProfile } from '../mount/tree/profile.ts'
import { StoreError, systemCode } from '../support/errors.ts'

/** Throws `not-found` or `invalid-argument`, naming the file. */
export async function readProfile(file: string): Promise<ProfileEntry[]> {
  try {
    return parseProfile(await readFile(file, 'utf8'), file)
  } catch (error) {
    if (error instanceof StoreError) throw error
    const code = systemCode(error) === 'ENOENT' ? 'not-found' : 'invalid-argument'
    throw new StoreError(code, `the profile cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

/** Replaces what was there only when all of it is written. */
export async function writeProfile(file: string, entries: Iterable<ProfileEntry>): Promise<void> {
  const temp = `${file}.${process.pid}.tmp`
  try {
    await writeFile(temp, printProfile(entries))
    await rename(temp, file)
  } catch (error) {
    throw new StoreError('denied', `the profile cannot be written: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
