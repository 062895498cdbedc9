//! `holdfast run`: the proxy, from its configuration to the signal that ends it.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Failure,
    args::SettingsArgs,
    media_reach,
    signals::{self, Signals},
};
use crate::{
    admin,
    config::Config,
    net::{Proxy, StartError},
    telemetry,
};

/// The order matters: nothing is bound before the whole configuration is accepted, and signals
/// are caught before the first client can connect.
pub(super) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    let config = args.load()?;
    signals::ignore_others()?;
    telemetry::init(&config.log)?;
    info!(version = env!("CARGO_PKG_VERSION"), "holdfast starts");
    for warning in config.warnings().into_iter().chain(media_reach::warning(&config)) {
        warn!("{warning}");
    }
    super::install_crypto_provider();
    super::on_runtime(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let (started, starting) = watch::channel(None);
    admin_port(&config, starting).await?;
    let proxy = Arc::new(Proxy::launch(config).await?);
    started.send_replace(Some(Arc::clone(&proxy)));
    let signal = signals.next().await;
    info!(%signal, "ending; a second signal ends at once");
    tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::Interrupted(signal)),
        _ = proxy.shutdown() => Ok(()),
    }
}

/// From before the proxy itself: what asks how it is hears that it starts.
async fn admin_port(config: &Config, proxy: admin::Starting) -> Result<(), Failure> {
    let Some(address) = config.admin.listen.0 else { return Ok(()) };
    match admin::bind(address).await {
        Ok(listener) => {
            let (settings, health) = (config.admin.clone(), config.net.health.clone());
            tokio::spawn(admin::serve_from_start(listener, settings, health, proxy));
            Ok(())
        }
        Err(error) if config.admin.required => Err(Failure::Unavailable(format!(
            "cannot listen on {address} for `holdfast status`: {error}\nIs another proxy running here? \
             Choose another port with --admin, or none with --admin off; with admin.required = false this is \
             a warning."
        ))),
        Err(error) => {
            warn!(%address, %error, "no admin port; `holdfast status` will not work");
            Ok(())
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Listen { source, .. } => {
                let advice = match source.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        "Another process has this port: end it, or choose another with --listen."
                    }
                    std::io::ErrorKind::AddrNotAvailable => {
                        "This machine does not have this address: use one of its own, or 0.0.0.0 for all."
                    }
                    std::io::ErrorKind::PermissionDenied => {
                        "Ports below 1024 take a privilege (CAP_NET_BIND_SERVICE)."
                    }
                    _ => "Choose another with --listen.",
                };
                Self::Unavailable(format!("{error}\n{advice}"))
            }
            StartError::Media(_) => Self::Unavailable(format!(
                "{error}\nChoose another port with --media-listen, or switch anchored media off with --media direct."
            )),
            StartError::Unreadable { .. } => Self::Unreadable(error.to_string()),
            _ => Self::Usage(error.to_string()),
        }
    }
}
