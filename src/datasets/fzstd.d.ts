/** What we use of fzstd. Declared here, so that it is loaded and looked for only when a file asks for it. */
declare module "fzstd" {
  export function decompress(packed: Uint8Array, into?: Uint8Array): Uint8Array;
}
