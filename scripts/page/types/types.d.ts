// Made by scripts/page/api_types.py from observer_core/web/api/models.py: do not edit.
export interface Page<T> {
  items: T[];
  next: string | null;
}
export type Level = BoardRow["risk"];
export type GateState = BoardRow["state"];
export type Severity = IncidentItem["severity"];
export type Series = [string, string, string];
export interface Act {
  author?: string | null;
  reason: string;
}
export interface Anchor {
  ref: string;
  time_ns: number;
  digest: string;
  journals: number;
}
export interface Asked {
  ref: string;
  outcome: string | null;
  text: string;
  needs_confirmation?: boolean;
}
export interface AuthZenAction {
  name: string;
  properties?: Record<string, any> | null;
  [name: string]: any;
}
export interface AuthZenEntity {
  type: string;
  id: string;
  properties?: Record<string, any> | null;
  [name: string]: any;
}
export interface AuthZenParts {
  subject?: AuthZenEntity | null;
  action?: AuthZenAction | null;
  resource?: AuthZenEntity | null;
  context?: Record<string, any> | null;
  [name: string]: any;
}
export interface Became {
  entries: TimelineEntry[];
  truncated: boolean;
}
export interface Block {
  scope: string;
  policy: string;
  reason: string;
  severity: "info" | "warning" | "critical";
  since_ns: number;
  until_ns: number | null;
  released_ns: number | null;
  released_by: string | null;
  decision: string;
  lifted: boolean;
}
export interface BlockPage {
  items: Block[];
  next: string | null;
  reaches_ns: number | null;
}
export interface Board {
  domain: string;
  now_ns: number;
  counts: Record<"open" | "blocked" | "unknown", number>;
  scopes: string[];
  reasons: GateReason[];
  rows: BoardRow[];
}
export interface BoardRow {
  subject: string;
  state: "open" | "blocked" | "unknown";
  risk: "calm" | "elevated" | "critical" | "unknown";
  sources: string[];
  since_ns: number | null;
  until_ns: number | null;
  reasons: number[];
}
export interface Change {
  position: number;
  verdict: "block" | "release";
  scope: string;
  policy: string;
  reason: string;
  time: string;
  until: string | null;
}
export interface Changed {
  domain: string;
  after: number;
  changes: Change[];
  reset: boolean;
}
export interface CommandAct {
  author?: string | null;
  reason: string;
  command: "block" | "release" | "override" | "rearm" | "kill" | "unkill" | "confirm";
  scope?: string;
  domain?: string | null;
  for?: string | null;
  policy?: string | null;
  request?: string | null;
}
export interface ConfirmationRequest {
  request: string;
  command: string;
  scope: string;
  author: string;
  principal: string | null;
  reason: string;
  since_ns: number;
  expires_ns: number;
  until_ns: number | null;
}
export interface Curve {
  name: string;
  label: string;
  time_ms: number[];
  value: (number | null)[];
  marked_ms: number;
}
export interface DeadLetter {
  id: string;
  buried_ns: number;
  queue: string;
  state: "buried" | "redriven" | "dropped";
  dequeue_count: number;
  text: string;
}
export interface DomainStatus {
  domain: string;
  mode: "live" | "recorded";
  now_ns: number;
  risk: "calm" | "elevated" | "critical" | "unknown";
  killed: string[];
  gate: Record<"open" | "blocked" | "unknown", number>;
  incidents: number;
  blocks: number;
  requests: number;
  silences: number;
  quarantined: number;
  positions: Record<string, number>;
  sources: SourceStatus[];
  stages: StageStatus[];
}
export interface EvaluationAnswer {
  decision: boolean;
  context: Record<string, any>;
}
export interface EvaluationOptions {
  evaluations_semantic?: "execute_all" | "deny_on_first_deny" | "permit_on_first_permit";
  [name: string]: any;
}
export interface EvaluationRequest {
  subject: AuthZenEntity;
  action: AuthZenAction;
  resource: AuthZenEntity;
  context?: Record<string, any> | null;
  [name: string]: any;
}
export interface EvaluationsAnswer {
  evaluations: EvaluationAnswer[];
}
export interface EvaluationsRequest {
  subject?: AuthZenEntity | any;
  action?: AuthZenAction | any;
  resource?: AuthZenEntity | any;
  context?: Record<string, any> | any;
  evaluations?: (AuthZenParts | any)[] | null;
  options?: EvaluationOptions | null;
  [name: string]: any;
}
export interface FeedbackAct {
  ref: string;
  right: boolean;
  author?: string | null;
  note?: string | null;
}
export interface GateAnswered {
  subject: string;
  domain: string;
  decision: "allow" | "deny";
  reasons: GateReason[];
  as_of_ns: number | null;
  valid_until_ns: number;
  valid_until: string;
  risk: "calm" | "elevated" | "critical" | null;
  id?: string | null;
}
export interface GateReason {
  code: string;
  text: string;
  [name: string]: any;
}
export interface HealthCheck {
  componentId?: string | null;
  status: "pass" | "warn" | "fail";
  observedValue?: any;
  observedUnit?: string | null;
  time?: string | null;
  output?: string | null;
}
export interface HealthReport {
  status: "pass" | "warn" | "fail";
  version?: string | null;
  releaseId?: string | null;
  description?: string | null;
  time?: string | null;
  checks: Record<string, HealthCheck[]>;
}
export interface Incident {
  incident: IncidentItem;
  ranked: RankedSeries[];
  timeline: TimelineEntry[];
  truncated: boolean;
  patterns: string[];
  right: boolean | null;
  feedback: Record<string, boolean>;
}
export interface IncidentItem {
  id: string;
  domain: string;
  source: string;
  venue: string;
  state: "open" | "resolved";
  severity: "info" | "warning" | "critical";
  opened_ns: number;
  last_ns: number;
  changed_ns: number;
  score: number;
  series: [string, string, string][];
  series_count: number;
  started: [string, string, string][];
  standing: number;
  patterns: Record<string, number>;
  event: string;
}
export interface JournalSize {
  journal: string;
  domain: string;
  records: number;
  last_day: number;
  newest_ns: number | null;
}
export interface Ledger {
  heads: Record<string, Record<string, any>>;
  anchors: Anchor[];
  outside: string | null;
  every_ns: number | null;
  chain: Record<string, any> | null;
}
export interface Lineage {
  step: Step;
  policy_text: string | null;
  curve: Curve | null;
  verified: Verified;
  became: Became;
}
export interface Log {
  file: string;
  lines: LogLine[];
}
export interface LogLine {
  time: string | null;
  level: string | null;
  event: string;
  fields: Record<string, any>;
}
export interface Marker {
  ref: string;
  time_ms: number;
  pattern: string;
  severity: "info" | "warning" | "critical";
  direction: "up" | "down" | "none";
  score: number;
  evidence: Record<string, any>;
}
export interface Markers {
  items: Marker[];
  truncated: boolean;
}
export interface Model {
}
export interface Outcome {
  ref: string;
  state: "waiting" | "done" | "refused" | "needs_confirmation";
  decisions: RecordItem[];
  text: string;
}
export interface Override {
  scope: string;
  author: string;
  principal: string | null;
  reason: string;
  since_ns: number;
  until_ns: number;
  decision: string;
}
export interface Page_Block_ {
  items: Block[];
  next: string | null;
}
export interface Points {
  source: string;
  subject: string;
  field: string;
  unit: string | null;
  form: "line" | "candles";
  rows: number;
  bucket_ms: number | null;
  time_ms: number[];
  value?: (number | null)[] | null;
  open?: (number | null)[] | null;
  high?: (number | null)[] | null;
  low?: (number | null)[] | null;
  close?: (number | null)[] | null;
  volume?: (number | null)[] | null;
  first_ms: number | null;
  last_ms: number | null;
  complete: boolean;
}
export interface Policies {
  domain: string;
  epoch: number;
  version: string | null;
  items: Policy[];
}
export interface Policy {
  name: string;
  version: number;
  text: string;
  settings: Record<string, any>;
}
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  [name: string]: any;
}
export interface PushColumns {
  event_time?: string | number | null;
  time?: string | number | null;
  subjects: string[];
  fields: Record<string, (number | string | null)[]>;
}
export interface PushProblem {
  type: string;
  title: string;
  status: number;
  detail: string;
  rejected?: RejectedRow[];
  [name: string]: any;
}
export interface PushRow {
  event_time?: string | number | null;
  time?: string | number | null;
  subject: string;
  values?: Record<string, number | string | null> | null;
  [name: string]: any;
}
export interface Pushed {
  source: string;
  snapshots: number;
  position?: number | null;
  duplicate?: boolean | null;
  kept?: boolean | null;
}
export interface QuarantineAct {
  author?: string | null;
  reason: string;
  journal: string;
  ref: string;
}
export interface Quarantined {
  journal: string;
  ref: string;
  scopes: string[];
  error: string | null;
  time_ns: number | null;
}
export interface RankedSeries {
  source: string;
  subject: string;
  field: string;
  first_ns: number;
  score: number;
  pattern: string;
  started: boolean;
}
export interface RecordItem {
  ref: string;
  journal: string;
  position: number;
  time: string;
  record: Record<string, any>;
}
export interface RejectedRow {
  row: number;
  detail: string;
}
export interface ScopeBlocked {
  scope: string;
  policy: string;
  reason: string;
  time: string | null;
  until: string | null;
  [name: string]: any;
}
export interface SeriesItem {
  source: string;
  subject: string;
  field: string;
  unit: string | null;
  candles: boolean;
}
export interface SeriesList {
  items: SourceSeries[];
}
export interface Silence {
  id: string;
  domain: string;
  match: Record<string, any>;
  author: string;
  reason: string;
  start_ns: number;
  end_ns: number;
}
export interface SilenceAct {
  author?: string | null;
  reason: string;
  domain: string;
  types?: string[];
  sources?: string[];
  subjects?: string[];
  tags?: string[];
  everything?: boolean;
  for: string;
}
export interface SourceSeries {
  source: string;
  domain: string;
  subjects: string[];
  fields: string[];
  candles: boolean;
  first_ns: number | null;
  last_ns: number | null;
}
export interface SourceStatus {
  source: string;
  kind: string | null;
  status: "ok" | "stale" | "unavailable" | "unknown";
  error: string | null;
  position: number;
  newest_ns: number | null;
  age_ns: number | null;
  max_age_ns: number;
  subjects: number;
  stale_subjects: number;
}
export interface StageStatus {
  stage: string;
  journal: string;
  position: number;
  epoch: number;
  through_ns: number | null;
  lag_ns: number | null;
  max_lag_ns: number;
  behind: number;
}
export interface Standing {
  domain: string;
  after: number;
  blocks: ScopeBlocked[];
}
export interface Status {
  version: string;
  time: string;
  now_ns: number;
  runtime: "standalone" | "functions";
  refresh_ms: number;
  health: "pass" | "warn" | "fail";
  safe_mode: boolean;
  domains: DomainStatus[];
}
export interface Step {
  ref: string;
  title: string;
  facts: string[];
  hash: string;
  segment: string;
  offset: number;
  length: number;
  record: Record<string, any>;
  policy: Record<string, any>;
  origin_rows: Record<string, any>[];
  rests: Record<string, any>;
  causes: Step[];
}
export interface Storage {
  where: string;
  folders: Record<string, number> | null;
  free: number | null;
  bytes_a_day: number | null;
  operations: Record<string, number> | null;
  cost: Record<string, any> | null;
  journals: JournalSize[];
}
export interface Subscription {
  name: string;
  domain: string;
  stream: string;
  sink: Record<string, any>;
  configured: boolean;
  state: "waiting" | "active" | "paused";
  position: number | null;
  lag: number | null;
  attempt: number;
}
export interface SubscriptionAct {
  author?: string | null;
  reason: string;
  action: "pause" | "resume" | "remove";
  domain: string;
}
export interface TimelineEntry {
  time: string;
  time_ns: number;
  kind: "incident" | "event" | "decision" | "delivery" | "feedback";
  ref: string;
  severity: "info" | "warning" | "critical" | null;
  text: string;
  record: Record<string, any>;
}
export interface Verified {
  sound: boolean;
  checked: number;
  faults: string[];
}
export interface Who {
  principal: string | null;
  name: string | null;
  scopes: ("read" | "push" | "operate" | "admin")[];
  proof: "loopback" | "token" | "function_key" | "easy_auth";
  two_person: string[];
  confirm_within_ns: number;
}
