/** A mistake that the reader of the page can mend: one sentence that says what, where, and how. */
export class InputError extends Error {}
