/** What a guest or its front-end did that no honest one does: its device ends, and nothing else. */
export class GuestFault extends Error {
  override readonly name = 'GuestFault'
}
