import { StoreError, systemCode } from '../support/errors.ts'

/**
 * Loads the SDK of a cloud when its first address is opened: most installations need none of them, and loading
 * takes a good part of a second. Throws `unimplemented` with the package to install when it is missing.
 */
export async function importSdk<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new StoreError(
      'unimplemented',
      `it needs the package ${name}, which is not installed: npm install ${name}`,
    )
  }
}
