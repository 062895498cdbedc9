//! `holdfast run`: the proxy, from its configuration to the signal that ends it.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::{
    Failure,
    args::SettingsArgs,
    media_reach,
    reload::{self, Reloader, Watch},
    service,
    signals::{self, Signals},
};
use crate::{
    activation,
    admin::{self, Access, Asked, Board, Door, Reloading, Setup, Token},
    config::{AdminSocket, Config},
    net::{Proxy, StartError},
    telemetry,
};

/// The order matters: nothing is bound before the whole configuration is accepted, and signals
/// are caught before the first client can connect.
pub(super) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    let watch = Watch::new(args.file().as_slice());
    let mut config = args.load()?;
    // Before there is any other thread: the environment changes.
    let sockets = activation::take().map_err(|error| {
        Failure::Usage(format!("{error}\nHand over listening TCP and Unix sockets (Accept=no)."))
    })?;
    activation::adapt(&mut config);
    let (reloading, asked) = Reloading::channel();
    let hangup = reloading.clone();
    signals::ignore_others(move || hangup.signal())?;
    telemetry::init(&config.log)?;
    telemetry::init_access(&config.access)?;
    info!(version = env!("CARGO_PKG_VERSION"), "holdfast starts");
    if sockets > 0 {
        info!(sockets, "listening sockets were handed over by the service manager");
    }
    let warnings: Vec<String> = config.warnings().into_iter().chain(media_reach::warning(&config)).collect();
    warnings.iter().for_each(|warning| warn!("{warning}"));
    super::install_crypto_provider();
    super::on_runtime(serve(args.clone(), config, (watch, warnings), (reloading, asked)))
}

async fn serve(
    args: SettingsArgs,
    config: Config,
    (watch, warnings): (Watch, Vec<String>),
    (reloading, asked): (Reloading, mpsc::Receiver<Asked>),
) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let (started, starting) = watch::channel(None);
    let board = admin_side(&config, starting, reloading).await?;
    let proxy = Arc::new(Proxy::launch(config.clone()).await?);
    proxy.set_config_hash(reload::hash(&config));
    started.send_replace(Some(Arc::clone(&proxy)));
    service::attend(&proxy);
    let reloader = Reloader { args, running: config, proxy: Arc::clone(&proxy), board, watch, warnings };
    tokio::spawn(reloader.run(asked));
    let signal = tokio::select! {
        signal = signals.next() => signal,
        // An operator ordered it (`holdfast drain-self`).
        _ = proxy.left() => return Ok(()),
    };
    info!(%signal, "ending; a second signal ends at once");
    proxy.leave_for_signal(&signal.to_string());
    service::stops();
    tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::Interrupted(signal)),
        _ = proxy.left() => Ok(()),
    }
}

/// From before the proxy itself: what asks how it is hears that it starts.
async fn admin_side(config: &Config, proxy: admin::Starting, reloading: Reloading) -> Result<Board, Failure> {
    let settings = &config.admin;
    let token = Token::find(settings.token_file.as_deref(), Token::variable())
        .map_err(|error| Failure::Unreadable(error.to_string()))?;
    if let Some(warning) = settings.token_file.as_deref().and_then(Token::open_to_all) {
        warn!("{warning}");
    }
    if let Some(address) = settings.listen.0.filter(|address| !address.ip().is_loopback())
        && token.is_none()
    {
        return Err(Failure::Usage(format!(
            "admin.listen = {address} can be reached from elsewhere, and there is no token\nSet admin.token_file \
             or {}, or listen on 127.0.0.1.",
            admin::TOKEN_VARIABLE
        )));
    }
    let mut doors: Vec<Door> = admin_port(config).await?.into_iter().collect();
    let port = doors.first().and_then(Door::address).map(|address| address.port());
    let socket = admin_socket(config, port)?;
    let path = socket.map(|(door, path)| {
        doors.push(door);
        path
    });
    let setup = Setup {
        settings: settings.clone(),
        health: config.net.health.clone(),
        access: Access::new(token),
        socket: path,
        config: config.to_json(),
        weaker: config.server.consequences(&config.session),
        reloading: Some(reloading),
    };
    let board = Board::from(setup);
    tokio::spawn(admin::serve_from_start(doors, board.clone(), proxy));
    Ok(board)
}

async fn admin_port(config: &Config) -> Result<Option<Door>, Failure> {
    let Some(address) = config.admin.listen.0 else { return Ok(None) };
    match Door::tcp(address).await {
        Ok(door) => Ok(Some(door)),
        Err(error) if config.admin.required => Err(Failure::Unavailable(format!(
            "cannot listen on {address} for `holdfast status`: {error}\nIs another proxy running here? \
             Choose another port with --admin, or none with --admin off; with admin.required = false this is \
             a warning."
        ))),
        Err(error) => {
            warn!(%address, %error, "no admin port; `holdfast status` will not work");
            Ok(None)
        }
    }
}

/// A file that the operator named has to work; the one of our own choice is a convenience.
fn admin_socket(config: &Config, port: Option<u16>) -> Result<Option<(Door, PathBuf)>, Failure> {
    let settings = &config.admin;
    let opened = admin::socket_path(settings, port)
        .and_then(|path| path.map(|path| Door::unix(&path, settings).map(|door| (door, path))).transpose());
    match (opened, &settings.socket) {
        (Ok(opened), _) => Ok(opened),
        (Err(error), AdminSocket::Path(path)) if settings.required => Err(Failure::Unavailable(format!(
            "cannot listen on {} for `holdfast drain`: {error}\nChoose another file with admin.socket, or \
             \"off\"; with admin.required = false this is a warning.",
            path.display()
        ))),
        (Err(error), _) => {
            warn!(%error, "no admin socket; changes take a token (admin.token_file)");
            Ok(None)
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
