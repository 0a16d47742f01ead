import type { Options as SO } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as TO, FieldConfig as TF } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
export type { Dashboard } from "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen";
export interface StatOptions extends SO {}
export interface TsOptions extends TO {}
export interface TsField extends TF {}
