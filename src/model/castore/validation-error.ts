import { StoreError } from '../../support/errors.ts'

/**
 * Data that breaks a rule of its format. `variant` names the rule in the words of spec §1.8 and §1.10, so that
 * tests and logs can tell the cases apart without reading prose.
 */
export class ValidationError extends StoreError {
  override readonly name = 'ValidationError'
  readonly variant: string

  constructor(variant: string, message: string, options?: { cause?: unknown }) {
    super('invalid-argument', message, options)
    this.variant = variant
  }
}
