/** What we use of @cornerstonejs/codec-openjpeg, which brings no types. */
declare module "@cornerstonejs/codec-openjpeg/decodewasmjs" {
  export interface J2KDecoder {
    /** Room for a codestream of so many bytes. */
    getEncodedBuffer(length: number): Uint8Array;
    decode(): void;
    getDecodedBuffer(): Uint8Array;
    getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number; isSigned: boolean };
    delete(): void;
  }
  export interface OpenJpeg {
    readonly J2KDecoder: new () => J2KDecoder;
  }
  const load: (options: { print: (line: string) => void; printErr: (line: string) => void }) => Promise<OpenJpeg>;
  export default load;
}
