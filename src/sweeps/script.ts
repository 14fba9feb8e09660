/** What a scheduler needs to run a sweep: an array script for Slurm, a manifest of an indexed Job for Kubernetes. */
import { stringify } from "yaml";
import type { Sweep } from "./sweepFile.js";

export const SCHEDULERS = ["slurm", "k8s"] as const;
export type Scheduler = (typeof SCHEDULERS)[number];

export interface ScriptOptions {
  readonly out: string;
  /** Threads, and with them cores, of each point. */
  readonly threads: number;
  /** Points at a time. */
  readonly jobs: number;
}

/** The script or manifest, as text. Both run `m3ret sweep FILE --point INDEX` once a point; one that is done ends at once. */
export function schedulerScript(sweep: Sweep, scheduler: Scheduler, options: ScriptOptions): string {
  return scheduler === "slurm" ? slurm(sweep, options) : kubernetes(sweep, options);
}

/** For a POSIX shell: `it's` becomes `'it'\''s'`. */
function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function slurm({ name, file, points }: Sweep, { out, threads, jobs }: ScriptOptions): string {
  return [
    "#!/bin/bash",
    `# ${points.length} points of ${file}. Submit it where m3ret is installed: sbatch SCRIPT`,
    "# Submitted again, it runs what is missing: a point that was stopped goes on, one that is done ends at once.",
    `#SBATCH --job-name=m3ret-${name}`,
    `#SBATCH --array=0-${points.length - 1}%${jobs}`,
    `#SBATCH --cpus-per-task=${threads}`,
    "#SBATCH --mem=4G",
    "#SBATCH --time=02:00:00",
    `#SBATCH --output=m3ret-${name}-%a.log`,
    "#SBATCH --signal=B:TERM@60",
    "#SBATCH --requeue",
    "",
    `export M3RET_THREADS=${threads}`,
    `exec node_modules/.bin/m3ret sweep ${quoted(file)} --out ${quoted(out)} --point "$SLURM_ARRAY_TASK_ID"`,
    "",
  ].join("\n");
}

function kubernetes({ name, file, points }: Sweep, { out, threads, jobs }: ScriptOptions): string {
  const command = `exec node_modules/.bin/m3ret sweep ${quoted(file)} --out ${quoted(out)} --point "$JOB_COMPLETION_INDEX"`;
  const job = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: `m3ret-${name.toLowerCase().replace(/[^a-z0-9-]+/g, "-")}` },
    spec: {
      completionMode: "Indexed",
      completions: points.length,
      parallelism: Math.min(jobs, points.length),
      backoffLimit: 2 * points.length,
      template: {
        spec: {
          restartPolicy: "Never",
          terminationGracePeriodSeconds: 60,
          containers: [
            {
              name: "point",
              image: "YOUR-IMAGE-WITH-M3RET",
              workingDir: "/experiment",
              command: ["bash", "-c", command],
              env: [{ name: "M3RET_THREADS", value: String(threads) }],
              resources: {
                requests: { cpu: String(threads), memory: "4Gi" },
                limits: { cpu: String(threads), memory: "4Gi" },
              },
              volumeMounts: [{ name: "experiment", mountPath: "/experiment" }],
            },
          ],
          volumes: [{ name: "experiment", persistentVolumeClaim: { claimName: "YOUR-CLAIM" } }],
        },
      },
    },
  };
  const comment = [
    `# ${points.length} points of ${file}, as a Job with an index for each. kubectl apply -f SCRIPT`,
    "# Put in an image that has Node and m3ret, and a claim (ReadWriteMany) with the sweep file, data and results.",
  ];
  return `${comment.join("\n")}\n${stringify(job, { lineWidth: 0 })}`;
}
