export * from "./types.js";
export { Random } from "./random.js";
