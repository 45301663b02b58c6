// Send a study to OncoResponse and save the FHIR report, from Node 20 or newer.
//
// Run: npm ci --prefix examples/node && node examples/node/client.mjs STUDY_DIRECTORY [HOST:PORT] [REPORT_FILE]
// A server that asks who calls gets the token in the environment variable ONCORESPONSE_TOKEN.
// The protos are those of this repository; all that they import lies in third_party or comes with proto-loader.
import { createHash, randomUUID } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "./crc32.mjs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const CHUNK = 262144;
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
const options = {
  keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
  includeDirs: ["protos", "third_party/googleapis", "third_party/protovalidate"].map((folder) => path.join(root, folder)),
};
const files = ["oncoresponse/v1/study.proto", "oncoresponse/v1/assessment.proto",
  "google/rpc/status.proto", "google/rpc/error_details.proto"];
const { oncoresponse, google } = grpc.loadPackageDefinition(loader.loadSync(files, options));

const [directory, address = "127.0.0.1:50051", report = "report.json"] = process.argv.slice(2);
const token = process.env.ONCORESPONSE_TOKEN;
const who = () => {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
};
const channel = grpc.credentials.createInsecure();
const studies = new oncoresponse.v1.StudyService(address, channel);
const assessments = new oncoresponse.v1.AssessmentService(address, channel);
const call = (client, method, request) => new Promise((resolve, reject) =>
  client[method](request, who(), (error, answer) => (error ? reject(error) : resolve(answer))));

// Reason code (docs/errors.md) of an error: it stands in google.rpc.ErrorInfo of the status details.
function reasonOf(error) {
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!details) return grpc.status[error.code] ?? "UNKNOWN";
  for (const any of decode(google.rpc.Status, details).details)
    if (any.type_url.endsWith("google.rpc.ErrorInfo")) return decode(google.rpc.ErrorInfo, any.value).reason;
  return "UNKNOWN";
}
const decode = (type, bytes) => type.deserialize(bytes);

function* messages(study, paths) {
  for (const file of paths) {
    const data = readFileSync(file);
    const sha256 = createHash("sha256").update(data).digest("hex");
    yield { header: { study, sha256, size_bytes: data.length } };
    for (let start = 0; start < data.length; start += CHUNK) {
      const part = data.subarray(start, start + CHUNK);
      yield { chunk: { data: part, crc32: crc32(part) } };
    }
  }
}

function upload(study, paths) {
  return new Promise((resolve, reject) => {
    const stream = studies.UploadInstances(who(), (error, answer) => (error ? reject(error) : resolve(answer)));
    const waiting = messages(study, paths);
    const send = () => {
      for (let next = waiting.next(); !next.done; next = waiting.next())
        if (!stream.write(next.value)) return stream.once("drain", send);
      stream.end();
    };
    send();
  });
}

try {
  const paths = readdirSync(directory, { recursive: true }).filter((name) => name.endsWith(".dcm"))
    .map((name) => path.join(directory, name)).sort();
  const { study } = await call(studies, "CreateStudy", { request_id: randomUUID() });
  await upload(study.name, paths);
  await call(studies, "CompleteStudy", { study: study.name, instance_count: paths.length });
  const order = { request_id: randomUUID(), study: study.name, model: "models/sts-petct" };
  let { assessment } = await call(assessments, "CreateAssessment", order);
  for await (const update of assessments.WatchAssessment({ name: assessment.name }, who())) {
    assessment = update.assessment;
    console.log(`${Math.round(100 * assessment.fraction_done)}%  ${assessment.message}`);
  }
  if (assessment.state !== "ASSESSMENT_STATE_SUCCEEDED")
    throw new Error(assessment.error?.message || assessment.message);
  console.log(assessment.result.summary);
  const parts = [];
  for await (const part of assessments.GetArtifact({ assessment: assessment.name, file_name: "report.json" }, who()))
    if (part.data?.length) parts.push(part.data);
  writeFileSync(report, Buffer.concat(parts));
} catch (error) {
  console.error(error.code === undefined ? error.message : `${reasonOf(error)}: ${error.details}`);
  process.exitCode = 1;
}
