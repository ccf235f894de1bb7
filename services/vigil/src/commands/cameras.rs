//! `vigil cameras`: the registry of cameras.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use vigil_base::{CameraId, EdgeId, RegionId};
use vigil_proto::convert::{geo_to_wire, withheld_name};
use vigil_proto::v1;

use crate::client::{self, ServerArgs};
use crate::{exit, output, place};

/// List and change the cameras that a region, or through a gateway all regions, know.
///
/// Edges announce their cameras by themselves. What an operator puts stays as it is put: the edge's announcement no
/// longer changes it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil cameras list
  vigil cameras put --region north --id gate-1 --name \"North gate\" --location 52.5163,13.3777
  vigil cameras delete --region north --id gate-1")]
pub struct CamerasArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// JSON lines on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all cameras.
    List {
        /// Only this region's.
        #[arg(long, value_name = "ID")]
        region: Option<RegionId>,
    },
    /// Show one camera.
    Get(Named),
    /// Add a camera, or change the one there is; options that are not given keep their value.
    Put {
        #[command(flatten)]
        named: Named,
        /// Its name for people.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Where it stands: latitude,longitude in degrees.
        #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
        location: Option<String>,
        /// The edge that reads it.
        #[arg(long, value_name = "ID")]
        edge: Option<EdgeId>,
        /// The stream's address, without user and password.
        #[arg(long, value_name = "URL")]
        address: Option<String>,
    },
    /// Take a camera out of the registry; its events stay.
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The camera's region.
    #[arg(long, value_name = "ID")]
    region: RegionId,
    /// The camera.
    #[arg(long, value_name = "ID")]
    id: CameraId,
}

/// Runs the command.
pub async fn run(args: CamerasArgs) -> anyhow::Result<ExitCode> {
    let channel = args.server.connect().await?;
    let mut cameras = client::cameras(channel);
    match &args.action {
        Action::List { region } => return list(&args, &mut cameras, region.as_ref()).await,
        Action::Get(named) => {
            let request = v1::GetCameraRequest { region_id: named.region.to_string(), camera_id: named.id.to_string() };
            let answer = cameras.get_camera(args.server.request(request)).await.map_err(|e| args.server.explain(&e))?;
            show(args.json, answer.into_inner().camera.into_iter().collect())?;
        }
        Action::Put { named, name, location, edge, address } => {
            let mut camera = known(&args, &mut cameras, named).await?;
            if let Some(name) = name {
                camera.display_name.clone_from(name);
            }
            if let Some(edge) = edge {
                camera.edge_id = edge.to_string();
            }
            if let Some(address) = address {
                camera.address.clone_from(address);
            }
            if let Some(location) = location {
                let point = place::parse(location).context("--location").map_err(exit::wrong_use)?;
                camera.location = Some(geo_to_wire(point));
            }
            let request = args.server.request(v1::PutCameraRequest { camera: Some(camera) });
            let answer = cameras.put_camera(request).await.map_err(|e| args.server.explain(&e))?;
            show(args.json, answer.into_inner().camera.into_iter().collect())?;
        }
        Action::Delete(named) => {
            let request =
                v1::DeleteCameraRequest { region_id: named.region.to_string(), camera_id: named.id.to_string() };
            cameras.delete_camera(args.server.request(request)).await.map_err(|e| args.server.explain(&e))?;
            if !args.json {
                output::line(format!("camera {} is no longer in the registry of {}", named.id, named.region))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Cameras = v1::camera_service_client::CameraServiceClient<tonic::transport::Channel>;

/// The camera as it is now, or an empty one of that name.
async fn known(args: &CamerasArgs, cameras: &mut Cameras, named: &Named) -> anyhow::Result<v1::Camera> {
    let request = v1::GetCameraRequest { region_id: named.region.to_string(), camera_id: named.id.to_string() };
    match cameras.get_camera(args.server.request(request)).await {
        Ok(answer) => answer.into_inner().camera.context("the server answered without the camera"),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(v1::Camera {
            region_id: named.region.to_string(),
            camera_id: named.id.to_string(),
            ..v1::Camera::default()
        }),
        Err(status) => Err(args.server.explain(&status)),
    }
}

async fn list(args: &CamerasArgs, cameras: &mut Cameras, region: Option<&RegionId>) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    let mut failures = Vec::new();
    let mut withheld = std::collections::BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let region_id = region.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListCamerasRequest { region_id, page_size: 1000, page_token };
        let answer = cameras.list_cameras(args.server.request(request)).await.map_err(|e| args.server.explain(&e))?;
        let answer = answer.into_inner();
        all.extend(answer.cameras);
        failures.extend(answer.failures);
        withheld.extend(answer.withheld.into_iter().map(|told| (told.region_id.clone(), told)));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    show(args.json, all)?;
    for (region, told) in &withheld {
        output::line(if args.json {
            json!({"withheld": output::withheld_json(told)}).to_string()
        } else {
            format!("{region}: {}", output::withheld_words(told))
        })?;
    }
    for failure in &failures {
        output::line(if args.json {
            json!({"failure": failure}).to_string()
        } else {
            format!("not listed: {failure}")
        })?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn show(json: bool, cameras: Vec<v1::Camera>) -> anyhow::Result<()> {
    let mut table = output::table(["region", "camera", "name", "edge", "location", "address", "from"]);
    for camera in cameras {
        let origin = match camera.origin() {
            v1::CameraOrigin::Edge => "edge",
            v1::CameraOrigin::Operator => "operator",
            v1::CameraOrigin::Unspecified => "unknown",
        };
        let withheld: Vec<_> = camera.withheld().map(withheld_name).collect();
        if json {
            let location = camera.location.map(|p| json!({"latitude": p.latitude, "longitude": p.longitude}));
            output::line(json!({
                "region": camera.region_id, "camera": camera.camera_id, "name": camera.display_name,
                "edge": camera.edge_id, "location": location, "address": camera.address, "origin": origin,
                "etag": camera.etag, "withheld": withheld,
            }))?;
            continue;
        }
        let location = camera.location.map(|p| format!("{:.5},{:.5}", p.latitude, p.longitude)).unwrap_or_default();
        let row = [camera.region_id, camera.camera_id, camera.display_name, camera.edge_id, location, camera.address];
        table.add_row(row.into_iter().chain([origin.to_owned()]));
    }
    if json { Ok(()) } else { output::line(table) }
}
