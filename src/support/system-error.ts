import { getSystemErrorMessage, getSystemErrorName } from 'node:util'

export interface SystemError extends Error {
  readonly code: string
  readonly errno: number
}

/** As Node's own, of the negative errno that an addon answered. `doing` stands where Node has what the system says of it. */
export function systemError(
  negativeErrno: number,
  doing = getSystemErrorMessage(negativeErrno),
): SystemError {
  const code = getSystemErrorName(negativeErrno)
  return Object.assign(new Error(`${code}: ${doing}`), { code, errno: negativeErrno })
}
