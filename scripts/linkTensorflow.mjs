/** npm run link:tensorflow [-- --python PATH | --remove]: see environment.md. Runs the built library: `npm run build`. */
import { parseArgs } from "node:util";

try {
  const { values } = parseArgs({ options: { python: { type: "string" }, remove: { type: "boolean" } } });
  const { linkTensorflow, unlinkTensorflow } = await import("../dist/engine/linkTensorflow.js");
  if (values.remove) console.log(unlinkTensorflow() ? "the link is gone" : "nothing was linked");
  else await linkTensorflow({ python: values.python ?? process.env.M3RET_PYTHON, say: console.log });
} catch (error) {
  console.error(`error: ${error.message.split("\n")[0]}`);
  process.exitCode = 2;
}
